import type { Part, PodProcesses } from "./pod.ts";

export type Target = { readonly operator: true } | { readonly pod: PodProcesses; readonly part: Part };

/**
 * What a word after `weft stop|start` names: `operator`, `POD`, `NAMESPACE/POD`, or one of these with `/app` or
 * `/proxy`. A string is the reason why it names nothing.
 */
export function findTarget(word: string, pods: readonly PodProcesses[]): Target | string {
  if (word === "operator") return { operator: true };
  const parts = word.split("/");
  const last = parts.at(-1);
  const byName = (name: string): readonly PodProcesses[] => pods.filter((p) => p.name === name || p.options.pod.metadata.name === name);
  let found = byName(word);
  let part: Part = "pod";
  if (found.length === 0 && parts.length > 1 && (last === "app" || last === "proxy")) {
    found = byName(parts.slice(0, -1).join("/"));
    part = last;
  }
  const [pod, ...others] = found;
  if (pod === undefined) return `there is no pod ${JSON.stringify(word)}; there are: operator, ${pods.map((p) => p.name).join(", ")}`;
  if (others.length > 0) return `${JSON.stringify(word)} is the name of several pods; write one of ${found.map((p) => p.name).join(", ")}`;
  return { pod, part };
}
