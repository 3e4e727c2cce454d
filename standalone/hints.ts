import { isObject } from "./schema.ts";
import type { ManifestFolder } from "./folder.ts";
import type { ObjectStore } from "./store.ts";

/** What to try next, from what is there: nobody can edit a split that the folder does not have. */
export function hints(
  options: { readonly folder: string; readonly state: string },
  manifests: ManifestFolder,
  store: ObjectStore,
): string[] {
  const lines = ["", "Try:"];
  const policies = store.list("TrafficPolicy");
  const place = (name: string, namespace: string, field: string): string => {
    const at = manifests.locate("TrafficPolicy", namespace, name, field);
    return at === null ? options.folder : `${at.file}:${at.line}`;
  };
  for (const policy of policies) {
    const { routes } = (isObject(policy.spec) ? policy.spec : {}) as { routes?: unknown };
    if (!Array.isArray(routes)) continue;
    const split = routes.findIndex((r) => isObject(r) && Array.isArray(r["backendRefs"]) && r["backendRefs"].length > 1);
    const { name, namespace = "default" } = policy.metadata;
    if (split >= 0)
      lines.push(
        `  change the split        edit the weights at ${place(name, namespace, `spec.routes[${split}].backendRefs`)} and save: it is in force at once`,
      );
    if (routes.length > 0) {
      const at = place(name, namespace, `spec.routes[${Math.max(0, split)}]`);
      lines.push(`  inject a fault          add \`faults: {abort: {status: 503, fraction: {numerator: 10}}}\` to the route at ${at}`);
      break;
    }
  }
  const state = ` --state ${options.state}`;
  lines.push(`  stop the operator       weft stop operator${state}   (requests go on; \`weft start operator${state}\` brings it back)`);
  lines.push(`  see what was accepted   weft get trafficpolicies${state}`);
  lines.push(`  see who calls whom      weft get edges${state}`, "");
  return lines;
}
