import Type, { type Static } from "typebox";
import { TRAFFIC_POLICY_DEFAULTS } from "./defaults.ts";
import {
  asSet,
  duration,
  durationWithin,
  type Frozen,
  headerName,
  headerValue,
  keyedBy,
  label,
  list,
  objectName,
  oneOf,
  PATH_PATTERN,
  port,
  rules,
} from "./fields.ts";
import { WEFT_GROUP } from "./object.ts";

/** What happens to a request besides being routed: Gateway API's filters, and faults. */

/** A share of requests: numerator of denominator. */
export const FractionSchema = Type.Object(
  {
    numerator: Type.Integer({ description: "Requests of every `denominator` that are meant. 0: none.", minimum: 0, maximum: 1_000_000 }),
    denominator: Type.Optional(
      Type.Integer({
        description: "Default 100: numerator is then a percentage.",
        minimum: 1,
        maximum: 1_000_000,
        default: TRAFFIC_POLICY_DEFAULTS.fraction.denominator,
      }),
    ),
  },
  {
    description: "A share of requests.",
    ...rules({
      rule: "self.numerator <= (has(self.denominator) ? self.denominator : 100)",
      message: "numerator must not be greater than denominator (100 when absent)",
      fieldPath: ".numerator",
    }),
  },
);

/**
 * Names a filter may not touch: they frame the message or belong to one connection (changing them would let two
 * parsers disagree where it ends), or are Weft's own. Host is changed by urlRewrite.hostname. Lower case, RE2 and
 * JavaScript alike; matched against the whole name without regard to case.
 */
export const RESERVED_HEADER_PATTERN =
  "^(host|content-length|transfer-encoding|connection|keep-alive|proxy-connection|te|trailer|upgrade|weft-.*)$";

const notReserved = {
  rule: `!self.matches('(?i)${RESERVED_HEADER_PATTERN}')`,
  message:
    "frames the message or belongs to the connection or to Weft, and cannot be changed by a filter; for Host use urlRewrite.hostname",
};

/** Shorter than other header names: the API server prices the rule by length, times every place it may stand. */
function modifiedName(description: string) {
  return { ...headerName(description), maxLength: 128, ...rules(notReserved) } as ReturnType<typeof headerName>;
}

const HeaderSchema = Type.Object(
  { name: modifiedName("Field name, whatever its case."), value: headerValue("Field value.") },
  { description: "A header field." },
);

/** Gateway API HTTPHeaderFilter. Applied in the order remove, set, add. */
export const HTTPHeaderFilterSchema = Type.Object(
  {
    set: Type.Optional(
      list(HeaderSchema, "Fields that get this one value, whatever they had before.", { maxItems: 16, ...keyedBy("name") }),
    ),
    add: Type.Optional(list(HeaderSchema, "Fields that get this value besides what they have.", { maxItems: 16, ...keyedBy("name") })),
    remove: Type.Optional(list(modifiedName("Field name, whatever its case."), "Fields that are taken away.", { maxItems: 16, ...asSet })),
  },
  { description: "Changes to header fields." },
);

/** Gateway API HTTPPathModifier. */
const PathModifierSchema = Type.Object(
  {
    type: oneOf(["ReplaceFullPath", "ReplacePrefixMatch"], { description: "What of the path is replaced." }),
    replaceFullPath: Type.Optional(Type.String({ description: "The new path.", maxLength: 1024, pattern: PATH_PATTERN })),
    replacePrefixMatch: Type.Optional(
      Type.String({
        description: "What takes the place of the matched prefix; empty counts as /.",
        maxLength: 1024,
        pattern: `${PATH_PATTERN}|^$`,
      }),
    ),
  },
  {
    description: "A change to the path.",
    ...rules(
      {
        rule: "(self.type == 'ReplaceFullPath') == has(self.replaceFullPath)",
        message: "replaceFullPath must be given exactly when type is ReplaceFullPath",
        fieldPath: ".replaceFullPath",
      },
      {
        rule: "(self.type == 'ReplacePrefixMatch') == has(self.replacePrefixMatch)",
        message: "replacePrefixMatch must be given exactly when type is ReplacePrefixMatch",
        fieldPath: ".replacePrefixMatch",
      },
    ),
  },
);

const hostname = (description: string) =>
  Type.String({ description, minLength: 1, maxLength: 253, pattern: "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" });

/** Gateway API HTTPURLRewriteFilter. */
export const HTTPURLRewriteFilterSchema = Type.Object(
  {
    hostname: Type.Optional(hostname("The new Host, without port.")),
    path: Type.Optional(PathModifierSchema),
  },
  { description: "Changes what the backend is asked for; the caller does not see it." },
);

/** Gateway API HTTPRequestRedirectFilter. */
export const HTTPRequestRedirectFilterSchema = Type.Object(
  {
    scheme: Type.Optional(oneOf(["http", "https"], { description: "Scheme of Location; the request's own when absent." })),
    hostname: Type.Optional(hostname("Host of Location; the request's own when absent.")),
    path: Type.Optional(PathModifierSchema),
    port: Type.Optional(port("Port of Location; that of the scheme, or the request's own, when absent.")),
    statusCode: Type.Optional(
      Type.Unsafe<301 | 302 | 303 | 307 | 308>({
        type: "integer",
        enum: [301, 302, 303, 307, 308],
        description: "Status of the answer.",
        default: TRAFFIC_POLICY_DEFAULTS.route.redirect.statusCode,
      }),
    ),
  },
  { description: "Answers with a redirect instead of asking a backend." },
);

/** A Service port in Gateway API's words, always by name: a mirror is never a subset. */
const MirrorBackendSchema = Type.Object(
  {
    group: Type.Optional(oneOf([""], { description: "The core group, the only one." })),
    kind: Type.Optional(oneOf(["Service"], { description: "Service, the only kind." })),
    name: objectName("Name of a Service."),
    namespace: Type.Optional(label("Namespace of the Service; the policy's own when absent.")),
    port: port("Port of the Service."),
  },
  { description: "Where the copies go." },
);

/** Gateway API HTTPRequestMirrorFilter. */
export const HTTPRequestMirrorFilterSchema = Type.Object(
  {
    backendRef: MirrorBackendSchema,
    percent: Type.Optional(
      Type.Integer({ description: "Share of requests in percent; all when neither this nor fraction is given.", minimum: 0, maximum: 100 }),
    ),
    fraction: Type.Optional(FractionSchema),
  },
  {
    description: "Sends a copy of requests elsewhere and ignores its answer.",
    ...rules({ rule: "!(has(self.percent) && has(self.fraction))", message: "give percent or fraction, not both", fieldPath: ".fraction" }),
  },
);

const FILTER_FIELDS = {
  RequestHeaderModifier: "requestHeaderModifier",
  ResponseHeaderModifier: "responseHeaderModifier",
  RequestMirror: "requestMirror",
  RequestRedirect: "requestRedirect",
  URLRewrite: "urlRewrite",
} as const;

/** Gateway API HTTPRouteFilter: `type` and exactly the one field of that name. */
export const HTTPRouteFilterSchema = Type.Object(
  {
    type: oneOf(["RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "RequestRedirect", "URLRewrite"], {
      description: "Which of the fields below is meant.",
    }),
    requestHeaderModifier: Type.Optional(HTTPHeaderFilterSchema),
    responseHeaderModifier: Type.Optional(HTTPHeaderFilterSchema),
    requestMirror: Type.Optional(HTTPRequestMirrorFilterSchema),
    requestRedirect: Type.Optional(HTTPRequestRedirectFilterSchema),
    urlRewrite: Type.Optional(HTTPURLRewriteFilterSchema),
  },
  {
    description: "One thing done to requests or responses (Gateway API HTTPRouteFilter).",
    ...rules(
      ...Object.entries(FILTER_FIELDS).map(([type, field]) => ({
        rule: `(self.type == '${type}') == has(self.${field})`,
        message: `${field} must be given exactly when type is ${type}`,
        fieldPath: `.${field}`,
      })),
    ),
  },
);

/** Filters of a route, with what may not stand together. */
export const filtersRules = rules(
  ...["RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite"].map((type) => ({
    rule: `self.filter(f, f.type == '${type}').size() <= 1`,
    message: `at most one filter of type ${type}: put the changes into one`,
  })),
  {
    rule: "!(self.exists(f, f.type == 'RequestRedirect') && self.exists(f, f.type == 'URLRewrite'))",
    message: "RequestRedirect and URLRewrite cannot stand in one route: a redirected request reaches no backend",
  },
);

export const FaultsSchema = Type.Object(
  {
    delay: Type.Optional(
      Type.Object(
        {
          duration: duration("How long the request waits before it is routed on, at most 1h. 0s: not at all.", {
            rules: [durationWithin("0s", "1h")],
          }),
          fraction: Type.Optional(FractionSchema),
        },
        { description: "Makes requests wait; all of them unless fraction says otherwise." },
      ),
    ),
    abort: Type.Optional(
      Type.Object(
        {
          status: Type.Integer({
            description: "HTTP status of the answer; a gRPC request gets the gRPC status that maps to it.",
            minimum: 400,
            maximum: 599,
          }),
          fraction: Type.Optional(FractionSchema),
        },
        { description: "Answers requests with an error instead of routing them; all of them unless fraction says otherwise." },
      ),
    ),
  },
  { description: `Faults put in on purpose, each drawn for itself. Answers carry ${WEFT_GROUP}'s code WEFT_FAULT_ABORT.` },
);

export type Fraction = Frozen<Static<typeof FractionSchema>>;
export type HTTPHeaderFilter = Frozen<Static<typeof HTTPHeaderFilterSchema>>;
export type HTTPPathModifier = Frozen<Static<typeof PathModifierSchema>>;
export type HTTPURLRewriteFilter = Frozen<Static<typeof HTTPURLRewriteFilterSchema>>;
export type HTTPRequestRedirectFilter = Frozen<Static<typeof HTTPRequestRedirectFilterSchema>>;
export type HTTPRequestMirrorFilter = Frozen<Static<typeof HTTPRequestMirrorFilterSchema>>;
export type HTTPRouteFilter = Frozen<Static<typeof HTTPRouteFilterSchema>>;
export type Faults = Frozen<Static<typeof FaultsSchema>>;
