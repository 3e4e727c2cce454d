import { isObject } from "./schema.ts";
import type { ManifestFolder } from "./folder.ts";
import type { ObjectStore } from "./store.ts";

/** What to try next, from what is there: nobody can edit a split that the folder does not have. */
export function hints(
  options: { readonly folder: string; readonly state: string; readonly command: string },
  manifests: ManifestFolder,
  store: ObjectStore,
): string[] {
  const lines = ["", "Try:"];
  const policies = store.list("TrafficPolicy");
  const place = (name: string, namespace: string, field: string): string => {
    const at = manifests.locate("TrafficPolicy", namespace, name, field);
    return at === null ? options.folder : `${at.file}:${at.line}`;
  };
  const routed = policies.flatMap((policy) => {
    const { routes } = (isObject(policy.spec) ? policy.spec : {}) as { routes?: unknown };
    if (!Array.isArray(routes) || routes.length === 0) return [];
    const split = routes.findIndex((r) => isObject(r) && Array.isArray(r["backendRefs"]) && r["backendRefs"].length > 1);
    const { name, namespace = "default" } = policy.metadata;
    return [{ name, namespace, split }];
  });
  // One with a split, wherever it is, shows more than the first.
  const chosen = routed.find(({ split }) => split >= 0) ?? routed[0];
  if (chosen !== undefined) {
    const { name, namespace, split } = chosen;
    if (split >= 0) {
      const at = place(name, namespace, `spec.routes[${split}].backendRefs`);
      lines.push(`  change the split        edit the weights at ${at} and save: it is in force at once`);
    }
    const at = place(name, namespace, `spec.routes[${Math.max(0, split)}]`);
    lines.push(`  inject a fault          add \`faults: {abort: {status: 503, fraction: {numerator: 10}}}\` to the route at ${at}`);
  }
  const run = (verb: string): string => `${options.command} ${verb} --state ${options.state}`;
  lines.push(`  stop the operator       ${run("stop operator")}`);
  lines.push(`  bring it back           ${run("start operator")}   (requests go on meanwhile)`);
  lines.push(`  see what was accepted   ${run("get trafficpolicies")}`);
  lines.push(`  see who calls whom      ${run("get edges")}`, "");
  return lines;
}
