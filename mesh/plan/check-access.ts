import type { KubeObject } from "#api/resources/kube.ts";
import { list, record } from "./facts.ts";
import type { Findings } from "./problem.ts";

/** What it takes two fields of an AccessPolicy to see; the CRD's CEL rules say the same. */
export function checkAccessPolicy(object: KubeObject, findings: Findings): void {
  const spec = record(object.spec);
  if ((spec["targetRefs"] !== undefined) === (spec["selector"] !== undefined)) {
    findings.invalid("spec", "needs exactly one of targetRefs and selector", "say whom the policy is about in one of the two ways");
  }
  const seen = new Set<string>();
  for (const [position, target] of list(spec["targetRefs"]).map(record).entries()) {
    const key = JSON.stringify([target["name"], target["sectionName"] ?? ""]);
    if (seen.has(key)) findings.invalid(`spec.targetRefs[${position}]`, "names the same target twice", "remove one of the two");
    seen.add(key);
  }
  const providers = new Set(list(record(spec["jwt"])["providers"]).map((provider) => record(provider)["name"]));
  for (const [position, rule] of list(spec["rules"]).entries()) {
    for (const [place, when] of list(record(rule)["when"]).entries()) {
      const { provider } = record(when);
      if (providers.has(provider)) continue;
      findings.invalid(
        `spec.rules[${position}].when[${place}].provider`,
        `${JSON.stringify(provider ?? "")} is not in jwt.providers`,
        "add the provider or correct the name",
      );
    }
  }
}
