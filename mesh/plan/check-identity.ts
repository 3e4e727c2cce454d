import { MESH_IDENTITY_DEFAULTS } from "#api/resources/defaults.ts";
import type { KubeObject } from "#api/resources/kube.ts";
import { checkWithin, msOr } from "./check-duration.ts";
import { list, readMeta, record, text } from "./facts.ts";
import { MESH } from "./kinds.ts";
import type { Findings } from "./problem.ts";

/** What it takes two fields of a MeshIdentity to see. The CRD's CEL rules say the same, except what needs the namespace. */

type Fields = Readonly<Record<string, unknown>>;

const STRENGTH: Readonly<Record<string, number>> = { Disabled: 0, Permissive: 1, Strict: 2 };

export function checkMeshIdentity(object: KubeObject, findings: Findings): void {
  const spec = record(object.spec);
  const mtls = record(spec["mtls"]);
  const ofMesh: readonly [string, unknown][] = [
    ["spec.trustDomain", spec["trustDomain"]],
    ["spec.issuer", spec["issuer"]],
    ["spec.certificates", spec["certificates"]],
    ["spec.mtls.minimum", mtls["minimum"]],
  ];
  const isMesh = readMeta(object)?.key === MESH;
  for (const [path, value] of ofMesh) {
    if (value === undefined || isMesh) continue;
    findings.invalid(path, `is of the whole mesh: only MeshIdentity ${MESH} may set it`, `remove it, or set it in ${MESH}`);
  }
  if (spec["selector"] !== undefined && (isMesh || ofMesh.some(([, value]) => value !== undefined))) {
    findings.invalid(
      "spec.selector",
      "stands in an object that speaks for the whole mesh",
      "remove it, or write a MeshIdentity of its own for these pods",
    );
  }
  checkIssuer(spec["issuer"], findings);
  checkWithin(findings, "spec.certificates.ttl", record(spec["certificates"])["ttl"], "60s", "168h");
  checkMinimum(mtls, findings);
}

function checkIssuer(value: unknown, findings: Findings): void {
  if (value === undefined) return;
  const issuer = record(value);
  const { rootTTL, issuerTTL } = record(issuer["selfSigned"]);
  if ((issuer["selfSigned"] !== undefined) === (issuer["secretRef"] !== undefined)) {
    findings.invalid("spec.issuer", "needs exactly one of selfSigned and secretRef", "write selfSigned: {}");
  }
  if (issuer["selfSigned"] === undefined) return;
  const defaults = MESH_IDENTITY_DEFAULTS.issuer.selfSigned;
  checkWithin(findings, "spec.issuer.selfSigned.rootTTL", rootTTL, "1h", "99999h");
  checkWithin(findings, "spec.issuer.selfSigned.issuerTTL", issuerTTL, "10m", "99999h");
  const root = msOr(rootTTL, defaults.rootTTL);
  const own = msOr(issuerTTL, defaults.issuerTTL);
  if (root !== null && own !== null && own > root) {
    findings.invalid(
      "spec.issuer.selfSigned.issuerTTL",
      `(${defaults.issuerTTL} when absent) is longer than rootTTL`,
      "shorten it or raise rootTTL",
    );
  }
}

function checkMinimum(mtls: Fields, findings: Findings): void {
  const minimum = STRENGTH[text(mtls["minimum"])];
  if (minimum === undefined) return;
  const mode = text(mtls["mode"] ?? MESH_IDENTITY_DEFAULTS.mtls.mode);
  const remedy = `write ${text(mtls["minimum"])} or stricter, or lower minimum`;
  if ((STRENGTH[mode] ?? minimum) < minimum) findings.invalid("spec.mtls.mode", `${mode} is below minimum`, remedy);
  for (const [position, port] of list(mtls["ports"]).entries()) {
    const own = text(record(port)["mode"]);
    if ((STRENGTH[own] ?? minimum) < minimum) findings.invalid(`spec.mtls.ports[${position}].mode`, `${own} is below minimum`, remedy);
  }
}
