import { type ProbeTarget, PROXY_LABEL } from "#api/sidecar.ts";
import { VERSION } from "#api/version.ts";
import { readAnnotations } from "./annotations.ts";
import { difference, type Operation } from "./json-patch.ts";
import { list, record, text, type Json } from "./pod.ts";
import { rewriteProbes, writtenTable } from "./probes.ts";
import { hasOurName } from "./recognise.ts";
import type { InjectionSettings } from "./settings.ts";
import { initContainer, proxyContainer, volumes } from "./sidecar.ts";

/**
 * The pod with its sidecar, for a pod that `decide` says to inject. Applied to its own result it changes nothing;
 * applied to a result that others have changed since (containers added, ours moved or edited) it makes it right again.
 */
export function mesh(pod: Json, settings: InjectionSettings): Json {
  const spec = record(pod["spec"]);
  const metadata = record(pod["metadata"]);
  const written = writtenTable(pod);
  const table: Record<string, ProbeTarget> = {};
  const rewrite = (item: unknown): unknown => rewriteProbes(record(item), written, table);
  const others = list(spec["initContainers"]).filter((item) => !hasOurName(text(record(item)["name"])));
  // An init container without a restart policy has neither probes nor hooks; a sidecar of the user's has both.
  const initContainers = others.map(rewrite);
  const containers = list(spec["containers"]).map(rewrite);
  return {
    ...pod,
    metadata: { ...metadata, labels: { ...record(metadata["labels"]), [PROXY_LABEL]: VERSION } },
    spec: {
      ...spec,
      volumes: withOurVolumes(list(spec["volumes"])),
      // First of all, so that every other container, init containers included, has the mesh's network.
      initContainers: [initContainer(settings), proxyContainer(settings, readAnnotations(pod), table), ...initContainers],
      containers,
    },
  };
}

/** What turns the pod into the meshed one: a JSON Patch (RFC 6902), empty when it is that already. */
export function patchFor(pod: Json, settings: InjectionSettings): Operation[] {
  return difference(pod, mesh(pod, settings));
}

/** Ours where they stand already, else at the end. */
function withOurVolumes(present: readonly unknown[]): unknown[] {
  const missing = new Map(volumes().map((volume) => [text(volume["name"]), volume]));
  const result = present.map((item) => {
    const name = text(record(item)["name"]);
    const ours = missing.get(name);
    missing.delete(name);
    return ours ?? item;
  });
  return [...result, ...missing.values()];
}
