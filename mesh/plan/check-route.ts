import { TRAFFIC_POLICY_DEFAULTS } from "#api/resources/defaults.ts";
import { RESERVED_HEADER_PATTERN } from "#api/resources/filters.ts";
import { checkWithin, msOr } from "./check-duration.ts";
import { list, record, text } from "./facts.ts";
import type { Findings } from "./problem.ts";

/** What it takes two fields of one route of a TrafficPolicy to see; the CRD's CEL rules say the same. */

type Fields = Readonly<Record<string, unknown>>;

const RESERVED_HEADER = new RegExp(RESERVED_HEADER_PATTERN, "i");
const FILTER_FIELDS = {
  RequestHeaderModifier: "requestHeaderModifier",
  ResponseHeaderModifier: "responseHeaderModifier",
  RequestMirror: "requestMirror",
  RequestRedirect: "requestRedirect",
  URLRewrite: "urlRewrite",
} as const;
const PATH_FIELDS = { ReplaceFullPath: "replaceFullPath", ReplacePrefixMatch: "replacePrefixMatch" } as const;

export function checkRoute(route: Fields, path: string, findings: Findings): void {
  const matches = list(route["matches"]).map(record);
  for (const [position, match] of matches.entries())
    checkPath(record(match["path"])["value"], `${path}.matches[${position}].path.value`, findings);
  for (const [position, ref] of list(route["backendRefs"]).entries())
    checkBackendRef(record(ref), `${path}.backendRefs[${position}]`, findings);
  checkTimeouts(record(route["timeouts"]), `${path}.timeouts`, findings);
  checkWithin(findings, `${path}.retry.backoff`, record(route["retry"])["backoff"], "0s", "1m");
  const filters = list(route["filters"]).map(record);
  checkFilters(filters, `${path}.filters`, findings);
  if (filters.some((filter) => filter["type"] === "RequestRedirect") && list(route["backendRefs"]).length > 0) {
    findings.invalid(`${path}.backendRefs`, "stands beside a RequestRedirect filter, which reaches no backend", "remove one of the two");
  }
  const prefix = filters.some((filter) => replacesPrefix(filter["urlRewrite"]) || replacesPrefix(filter["requestRedirect"]));
  if (prefix && matches.some((match) => (record(match["path"])["type"] ?? "PathPrefix") !== "PathPrefix")) {
    findings.invalid(`${path}.matches`, "has a match without a prefix that ReplacePrefixMatch could replace", "match by PathPrefix only");
  }
  const { delay, abort } = record(route["faults"]);
  checkWithin(findings, `${path}.faults.delay.duration`, record(delay)["duration"], "0s", "1h");
  checkFraction(record(delay)["fraction"], `${path}.faults.delay.fraction`, findings);
  checkFraction(record(abort)["fraction"], `${path}.faults.abort.fraction`, findings);
}

/** Request paths are normalised before they are matched; a pattern that no normalised path can equal is a mistake. */
function checkPath(value: unknown, path: string, findings: Findings): void {
  const pattern = text(value);
  if (pattern.includes("//")) findings.invalid(path, "contains //, which no normalised path does", "write a single /");
  if (/\/\.\.?(\/|$)/.test(pattern))
    findings.invalid(path, "has . or .. as a segment, which no normalised path does", "write the path it stands for");
  if (/%2f/i.test(pattern)) findings.invalid(path, "contains %2F: an encoded slash never matches", "write /");
}

function checkBackendRef(ref: Fields, path: string, findings: Findings): void {
  const hasSubset = ref["subset"] !== undefined;
  const hasName = ref["name"] !== undefined;
  if (hasSubset === hasName) {
    findings.invalid(path, hasName ? "has both subset and name" : "has neither subset nor name", "give exactly one of the two");
  }
  if (hasName && ref["port"] === undefined)
    findings.invalid(`${path}.port`, "is missing: a Service needs its port too", "add the Service's port");
  if (hasSubset && ["port", "namespace", "group", "kind"].some((field) => ref[field] !== undefined)) {
    findings.invalid(
      path,
      "names a Service beside a subset, which is of the policy's own target",
      "remove port, namespace, group and kind",
    );
  }
}

function checkTimeouts(timeouts: Fields, path: string, findings: Findings): void {
  const request = msOr(timeouts["request"], TRAFFIC_POLICY_DEFAULTS.route.timeouts.request);
  const attempt = msOr(timeouts["backendRequest"], TRAFFIC_POLICY_DEFAULTS.route.timeouts.backendRequest);
  if (request === null || attempt === null || request === 0 || attempt <= request) return;
  findings.invalid(
    `${path}.backendRequest`,
    "is longer than request, which holds for all attempts together",
    "shorten it or raise request",
  );
}

function checkFilters(filters: readonly Fields[], path: string, findings: Findings): void {
  const counts = new Map<string, number>();
  for (const [position, filter] of filters.entries()) {
    const at = `${path}[${position}]`;
    const type = text(filter["type"]);
    counts.set(type, (counts.get(type) ?? 0) + 1);
    for (const [owner, field] of Object.entries(FILTER_FIELDS)) {
      if ((type === owner) === (filter[field] !== undefined)) continue;
      findings.invalid(`${at}.${field}`, `is given exactly when type is ${owner}`, `add ${field} or change type`);
    }
    checkHeaders(record(filter["requestHeaderModifier"]), `${at}.requestHeaderModifier`, findings);
    checkHeaders(record(filter["responseHeaderModifier"]), `${at}.responseHeaderModifier`, findings);
    for (const field of ["urlRewrite", "requestRedirect"])
      checkPathModifier(record(filter[field])["path"], `${at}.${field}.path`, findings);
    checkMirror(record(filter["requestMirror"]), `${at}.requestMirror`, findings);
  }
  for (const type of ["RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite"]) {
    if ((counts.get(type) ?? 0) > 1) findings.invalid(path, `has more than one filter of type ${type}`, "put the changes into one");
  }
  if (counts.has("RequestRedirect") && counts.has("URLRewrite")) {
    findings.invalid(path, "has RequestRedirect and URLRewrite: a redirected request reaches no backend", "remove one of the two");
  }
}

function checkHeaders(modifier: Fields, path: string, findings: Findings): void {
  const names: [string, unknown][] = [];
  for (const field of ["set", "add"]) {
    for (const [position, header] of list(modifier[field]).entries())
      names.push([`${path}.${field}[${position}].name`, record(header)["name"]]);
  }
  for (const [position, name] of list(modifier["remove"]).entries()) names.push([`${path}.remove[${position}]`, name]);
  for (const [at, name] of names) {
    if (!RESERVED_HEADER.test(text(name))) continue;
    findings.invalid(
      at,
      `${text(name)} frames the message or belongs to the connection or to Weft`,
      "remove it; for Host there is urlRewrite.hostname",
    );
  }
}

function checkPathModifier(value: unknown, path: string, findings: Findings): void {
  if (value === undefined) return;
  const modifier = record(value);
  for (const [type, field] of Object.entries(PATH_FIELDS)) {
    if ((modifier["type"] === type) === (modifier[field] !== undefined)) continue;
    findings.invalid(`${path}.${field}`, `is given exactly when type is ${type}`, `add ${field} or change type`);
  }
}

function checkMirror(mirror: Fields, path: string, findings: Findings): void {
  if (mirror["percent"] !== undefined && mirror["fraction"] !== undefined) {
    findings.invalid(`${path}.fraction`, "stands beside percent", "give one of the two");
  }
  checkFraction(mirror["fraction"], `${path}.fraction`, findings);
}

function checkFraction(value: unknown, path: string, findings: Findings): void {
  const { numerator, denominator = TRAFFIC_POLICY_DEFAULTS.fraction.denominator } = record(value);
  if (typeof numerator !== "number" || typeof denominator !== "number" || numerator <= denominator) return;
  findings.invalid(
    `${path}.numerator`,
    `${numerator} is greater than the denominator ${denominator}`,
    `write at most ${denominator}, or a greater denominator`,
  );
}

function replacesPrefix(filter: unknown): boolean {
  return record(record(filter)["path"])["type"] === "ReplacePrefixMatch";
}
