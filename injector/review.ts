import type { ErrorCode } from "#api/errors.ts";
import { WEFT_KINDS } from "#api/resources/schema-walk.ts";
import { beyondBounds } from "./json-bounds.ts";
import type { Operation } from "./json-patch.ts";
import { record, text, type Json } from "./pod.ts";

/** admission.k8s.io/v1 AdmissionReview: reading one and answering it. Pure. */

const API_VERSION = "admission.k8s.io/v1";
/** A UID as the API server makes them is 36 characters. It is the only thing of a request that an answer repeats. */
const UID_CHARS_MAX = 128;
/** The API server cuts longer warnings, and drops all when they are too many. */
const WARNING_CHARS_MAX = 256;
const WARNINGS_MAX = 10;

export interface ReviewRequest {
  readonly uid: string;
  readonly operation: string;
  readonly kind: { readonly group: string; readonly version: string; readonly kind: string };
  readonly subResource: string;
  readonly namespace: string;
  /** "" while the API server has not made one up yet (generateName). */
  readonly name: string;
  readonly object: Json;
  readonly oldObject: Json;
}

/** What an answer says; the patch is encoded by `answerOf`. */
export interface Verdict {
  readonly allowed: boolean;
  /** For the metric and the log. */
  readonly outcome: "injected" | "unchanged" | "skipped" | "allowed" | "refused" | "unavailable";
  readonly code?: ErrorCode;
  /** HTTP status of a refusal: 403 for what is not permitted, 422 for what is not valid, 503 for not now. */
  readonly status?: 403 | 422 | 503;
  /** For the user: what is wrong and what to do. Also why a pod was left alone, in the audit log. */
  readonly message?: string;
  readonly fields?: readonly { readonly path: string; readonly message: string }[];
  readonly patch?: readonly Operation[];
  readonly warnings?: readonly string[];
}

/** Reads a body. A text says what is wrong with it; it never repeats what the sender wrote. */
export function readReview(body: Uint8Array): ReviewRequest | { readonly problem: string } {
  const beyond = beyondBounds(body);
  if (beyond !== null) return { problem: beyond };
  let review: Json;
  try {
    review = record(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body)));
  } catch {
    return { problem: "not JSON in UTF-8" };
  }
  if (review["apiVersion"] !== API_VERSION || review["kind"] !== "AdmissionReview")
    return { problem: `not an AdmissionReview of ${API_VERSION}` };
  const request = record(review["request"]);
  const uid = text(request["uid"]);
  if (uid === "" || uid.length > UID_CHARS_MAX) return { problem: "request.uid is missing or too long" };
  const kind = record(request["kind"]);
  return {
    uid,
    operation: text(request["operation"]),
    kind: { group: text(kind["group"]), version: text(kind["version"]), kind: text(kind["kind"]) },
    subResource: text(request["subResource"]),
    namespace: text(request["namespace"]),
    name: text(request["name"]),
    object: record(request["object"]),
    oldObject: record(request["oldObject"]),
  };
}

/** The AdmissionReview to send back. */
export function answerOf(uid: string, verdict: Verdict): unknown {
  const { allowed, outcome, status, message, fields = [], patch = [], warnings = [] } = verdict;
  const causes = fields.slice(0, WARNINGS_MAX).map(({ path, message }) => ({ reason: "FieldValueInvalid", field: path, message }));
  const reason = status === 422 ? "Invalid" : status === 503 ? "ServiceUnavailable" : "Forbidden";
  return {
    apiVersion: API_VERSION,
    kind: "AdmissionReview",
    response: {
      uid,
      allowed,
      auditAnnotations: { outcome, ...(allowed && message !== undefined ? { reason: message } : {}) },
      ...(patch.length > 0 ? { patchType: "JSONPatch", patch: Buffer.from(JSON.stringify(patch)).toString("base64") } : {}),
      ...(warnings.length > 0
        ? { warnings: warnings.slice(0, WARNINGS_MAX).map((one) => `weft: ${one}`.slice(0, WARNING_CHARS_MAX)) }
        : {}),
      ...(allowed ? {} : { status: { code: status, reason, message, ...(causes.length > 0 ? { details: { causes } } : {}) } }),
    },
  };
}

/** Kind as a label value: what a client writes there is not among them. */
export function kindLabel(kind: string): string {
  return kind === "Pod" || (WEFT_KINDS as readonly string[]).includes(kind) ? kind : "other";
}
