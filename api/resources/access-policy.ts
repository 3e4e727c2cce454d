import Type, { type Static } from "typebox";
import { ACCESS_POLICY_DEFAULTS } from "./defaults.ts";
import { asSet, asWhole, type Frozen, keyedBy, label, list, objectName, oneOf, rules, selector } from "./fields.ts";
import { kindSchema, PolicyStatusSchema } from "./object.ts";

/**
 * Who may call whom. Short name wap. No policy on a port: allowed. One Allow: everything else is denied. Deny wins.
 * With `selector` there is no target object: status.ancestors then names the Namespace.
 */

const TargetRefSchema = Type.Object(
  {
    group: oneOf([""], { description: "The core group, the only one." }),
    kind: oneOf(["Service"], { description: "Service, the only kind." }),
    name: objectName("Name of a Service of the policy's own namespace."),
    sectionName: Type.Optional(objectName("Name of one port; all ports when absent.")),
  },
  { description: "A Service: the workloads and ports behind it are meant, by whatever name they are reached (GEP-713)." },
);

/** A segment of a SPIFFE path that is neither "." nor "..", or "*" alone. Written so that matching takes linear time. */
const SEGMENT = "(\\*|\\.{0,2}[A-Za-z0-9_-][A-Za-z0-9._-]*|\\.{3,}([A-Za-z0-9_-][A-Za-z0-9._-]*)?)";
const NAMESPACE = "(\\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)";
const SERVICE_ACCOUNT = "(\\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)";
const IDENTITY_PATTERN = `^(spiffe://[a-z0-9._-]+(/${SEGMENT})+|${NAMESPACE}/${SERVICE_ACCOUNT})$`;
/** Literal path, or one that ends in the segment "*". */
const PATHS_PATTERN = "^/([A-Za-z0-9/._~!$&'()+,;=:@-]|%[0-9a-fA-F]{2})*$|^/(([A-Za-z0-9/._~!$&'()+,;=:@-]|%[0-9a-fA-F]{2})*/)?\\*$";

const FromSchema = Type.Object(
  {
    identities: Type.Optional(
      list(
        Type.String({
          description: "A SPIFFE id, or namespace/serviceaccount of the mesh's own trust domain; * only as a whole segment.",
          minLength: 1,
          maxLength: 2048,
          pattern: IDENTITY_PATTERN,
        }),
        "Callers, any of which matches. None: every caller.",
        { maxItems: 64, ...asSet },
      ),
    ),
  },
  { description: "Who calls." },
);

const ToSchema = Type.Object(
  {
    methods: Type.Optional(
      list(
        oneOf(["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"], { description: "HTTP method." }),
        "Methods, any of which matches. None: every method.",
        { maxItems: 9, ...asSet },
      ),
    ),
    paths: Type.Optional(
      list(
        Type.String({
          description: "A whole path, or one that ends in /* for everything beneath; * stands nowhere else.",
          minLength: 1,
          maxLength: 1024,
          pattern: PATHS_PATTERN,
        }),
        "Paths without query, normalised, any of which matches. None: every path.",
        { maxItems: 64, ...asSet },
      ),
    ),
  },
  { description: "What is called. On a TCP connection an Allow with methods or paths does not match and a Deny does." },
);

const WhenSchema = Type.Object(
  {
    provider: label("Name of one of jwt.providers, whose token must be valid."),
    claim: Type.String({ description: "Claim of the token.", minLength: 1, maxLength: 253 }),
    values: list(
      Type.String({ description: "A value, byte for byte.", minLength: 1, maxLength: 1024 }),
      "Values, any of which the claim must have or contain.",
      {
        minItems: 1,
        maxItems: 64,
        ...asSet,
      },
    ),
  },
  { description: "What the caller's token must say." },
);

const AccessRuleSchema = Type.Object(
  {
    from: Type.Optional(list(FromSchema, "Who calls: any of them. None: everyone.", { maxItems: 16, ...asWhole })),
    to: Type.Optional(list(ToSchema, "What is called: any of them. None: everything.", { maxItems: 16, ...asWhole })),
    when: Type.Optional(list(WhenSchema, "What tokens must say: all of them.", { maxItems: 16, ...asWhole })),
  },
  { description: "Holds when from, to and when all hold. An empty rule matches every request." },
);

const ProviderSchema = Type.Object(
  {
    name: label("Name, for when."),
    issuer: Type.String({ description: "The iss claim that tokens must have, byte for byte.", minLength: 1, maxLength: 253 }),
    audiences: Type.Optional(
      list(
        Type.String({ description: "An audience, byte for byte.", minLength: 1, maxLength: 253 }),
        "Audiences, one of which the aud claim must name. None: not checked.",
        {
          maxItems: 8,
          ...asSet,
        },
      ),
    ),
    jwks: Type.Object(
      { url: Type.String({ description: "Where the keys are.", minLength: 1, maxLength: 1024, pattern: "^https?://[!-~]+$" }) },
      { description: "The keys that tokens are signed with (RFC 7517)." },
    ),
  },
  { description: "Who issues tokens." },
);

const JwtSchema = Type.Object(
  {
    required: Type.Optional(
      Type.Boolean({ description: "Whether a request without a valid token is refused.", default: ACCESS_POLICY_DEFAULTS.jwt.required }),
    ),
    providers: list(ProviderSchema, "Who issues tokens.", { minItems: 1, maxItems: 8, ...keyedBy("name") }),
  },
  { description: "Tokens of end users (RFC 7519)." },
);

export const AccessPolicySpecSchema = Type.Object(
  {
    targetRefs: Type.Optional(
      list(TargetRefSchema, "Services whose workloads are meant. Not together with selector.", {
        minItems: 1,
        maxItems: 16,
        ...asWhole,
        ...rules({
          rule: "self.all(a, self.exists_one(b, a.name == b.name && (has(a.sectionName) ? a.sectionName : '') == (has(b.sectionName) ? b.sectionName : '')))",
          message: "names the same target twice",
        }),
      }),
    ),
    selector: Type.Optional(selector("Pods of the policy's namespace. Not together with targetRefs.")),
    action: Type.Optional(oneOf(["Allow", "Deny"], { description: "What a match means.", default: ACCESS_POLICY_DEFAULTS.action })),
    mode: Type.Optional(
      oneOf(["Enforce", "Audit"], {
        description: "Audit: only count and log what would have been refused.",
        default: ACCESS_POLICY_DEFAULTS.mode,
      }),
    ),
    rules: Type.Optional(
      list(AccessRuleSchema, "The policy matches when any of them holds. None: nothing matches.", { maxItems: 64, ...asWhole }),
    ),
    jwt: Type.Optional(JwtSchema),
  },
  {
    description: "What is wanted.",
    ...rules(
      { rule: "has(self.targetRefs) != has(self.selector)", message: "give exactly one of targetRefs and selector" },
      {
        rule: "!has(self.rules) || self.rules.all(r, !has(r.when) || r.when.all(w, has(self.jwt) && self.jwt.providers.exists(p, p.name == w.provider)))",
        message: "a rule's when names a provider that jwt.providers does not have",
        fieldPath: ".rules",
      },
    ),
  },
);

export const AccessPolicySchema = kindSchema("AccessPolicy", "Who may call whom.", AccessPolicySpecSchema, PolicyStatusSchema);

export type AccessRule = Frozen<Static<typeof AccessRuleSchema>>;
export type JwtProvider = Frozen<Static<typeof ProviderSchema>>;
export type AccessPolicySpec = Frozen<Static<typeof AccessPolicySpecSchema>>;
export type AccessPolicy = Frozen<Static<typeof AccessPolicySchema>>;
