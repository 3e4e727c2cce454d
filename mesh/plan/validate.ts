import type { KubeObject } from "#api/resources/kube.ts";
import { WEFT_API_VERSION, WEFT_GROUP } from "#api/resources/object.ts";
import { checkSchema, nearest, WEFT_KINDS, type WeftKind } from "#api/resources/schema-walk.ts";
import { checkAccessPolicy } from "./check-access.ts";
import { checkMeshIdentity } from "./check-identity.ts";
import { checkTrafficPolicy } from "./check-traffic.ts";
import { record, text } from "./facts.ts";
import { kindOf } from "./kinds.ts";
import { Findings, type Problem } from "./problem.ts";
import { checkSupported } from "./supported.ts";

export type { Problem } from "./problem.ts";

/**
 * Everything that one object by itself shows to be wrong or not acted on yet: its schema, what takes two of its
 * fields to see (the same as the CRD's CEL rules), and fields that this version does not support. What takes other objects to see
 * (targets, conflicts, the mesh's minimum) is in its planned status. Empty for other people's kinds. Never throws.
 */
export function validate(object: KubeObject): Problem[] {
  const kind = text(record(object)["kind"]);
  const findings = new Findings();
  if (kindOf(object) === null) return [];
  if (text(record(object)["apiVersion"]) !== WEFT_API_VERSION || !isWeftKind(kind)) {
    checkKind(object, kind, findings);
    return kindOf(object) === "refused" ? findings.problems : [];
  }
  // Without the status: it is ours to write, never the user's to answer for.
  const { status: _, ...written } = object;
  const bySchema: readonly Problem[] = checkSchema(kind, written);
  if (kind === "TrafficPolicy") checkTrafficPolicy(object, findings);
  else if (kind === "MeshIdentity") checkMeshIdentity(object, findings);
  else checkAccessPolicy(object, findings);
  checkSupported(kind, object, findings);
  // What the schema already refuses needs no second opinion.
  const fresh = findings.problems.filter(({ path }) => !bySchema.some((problem) => path === problem.path || isBelow(path, problem.path)));
  return [...bySchema, ...fresh];
}

function isWeftKind(kind: string): kind is WeftKind {
  return (WEFT_KINDS as readonly string[]).includes(kind);
}

function isBelow(path: string, ancestor: string): boolean {
  return path.startsWith(`${ancestor}.`) || path.startsWith(`${ancestor}[`);
}

function checkKind(object: KubeObject, kind: string, findings: Findings): void {
  const apiVersion = text(record(object)["apiVersion"]);
  if (!apiVersion.startsWith(`${WEFT_GROUP}/`)) {
    findings.unsupported("kind", `${kind} is not acted on in this version of Weft`, "remove it; TrafficPolicy routes requests meanwhile");
  } else if (isWeftKind(kind)) {
    findings.invalid("apiVersion", `${apiVersion} is not known`, `write ${WEFT_API_VERSION}`);
  } else {
    const near = nearest(kind, WEFT_KINDS);
    const remedy = near === null ? `take one of ${WEFT_KINDS.join(", ")}` : `did you mean ${near}?`;
    findings.invalid("kind", `there is no kind ${kind} in ${WEFT_GROUP}`, remedy);
  }
}
