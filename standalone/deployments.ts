import { createHash } from "node:crypto";
import type { Deployment, Pod } from "#api/resources/kube.ts";
import { canonical } from "./keys.ts";

export const TEMPLATE_HASH_LABEL = "pod-template-hash";

/** A pod of a Deployment as the planner sees it. */
export interface OwnedPod {
  readonly name: string;
  readonly hash: string;
  readonly ready: boolean;
  readonly terminating: boolean;
}

export type Step = { readonly create: string } | { readonly terminate: string };

/**
 * What to do next so that a Deployment becomes what it says: first up to its replicas, then one new pod at a
 * time, and an old one goes only when the new one is ready. So a template that never becomes ready leaves the
 * old pods serving. Pure and level-based: called after every change, it says [] when all is well.
 */
export function nextSteps(
  deployment: string,
  replicas: number,
  hash: string,
  pods: readonly OwnedPod[],
  taken: (name: string) => boolean,
): Step[] {
  const live = pods.filter((p) => !p.terminating);
  const fresh = live.filter((p) => p.hash === hash);
  const old = live.filter((p) => p.hash !== hash);
  const steps: Step[] = [];
  const used = new Set(pods.map((p) => p.name));
  const create = (): void => {
    for (let n = 0; ; n++) {
      const name = `${deployment}-${n}`;
      if (used.has(name) || taken(name)) continue;
      used.add(name);
      steps.push({ create: name });
      return;
    }
  };
  const missing = replicas - live.length;
  for (let i = 0; i < missing; i++) create();
  const surplus = [...fresh].sort(leastWorthFirst).slice(0, Math.max(0, fresh.length - replicas));
  steps.push(...surplus.map((p) => ({ terminate: p.name })));
  if (missing > 0) return steps;
  const keptFresh = fresh.filter((p) => !surplus.includes(p));
  const allReady = keptFresh.every((p) => p.ready);
  // An old pod that does not serve gives nothing to keep; one that serves goes when its successor is ready.
  const excess = live.length - surplus.length - replicas;
  const [leaving] = [...old].sort(leastWorthFirst);
  if (leaving !== undefined && excess > 0 && (allReady || !leaving.ready)) steps.push({ terminate: leaving.name });
  else if (old.length > 0 && keptFresh.length < replicas && allReady && excess === 0) create();
  return steps;
}

/** Unready before ready, then the highest index. */
function leastWorthFirst(a: OwnedPod, b: OwnedPod): number {
  return Number(a.ready) - Number(b.ready) || index(b.name) - index(a.name);
}

function index(name: string): number {
  return Number(name.slice(name.lastIndexOf("-") + 1));
}

/** Hashes of templates: asked for at every change of anything. */
const hashes = new WeakMap<object, string>();

/** Tells templates apart: a pod carries the hash of the one it was made from. */
export function templateHash(deployment: Deployment): string {
  const { template } = deployment.spec;
  let hash = hashes.get(template);
  if (hash === undefined) {
    hash = createHash("sha256").update(canonical(template)).digest("hex").slice(0, 10);
    hashes.set(template, hash);
  }
  return hash;
}

export function podFromTemplate(deployment: Deployment, name: string, hash: string): Pod {
  const { metadata, spec } = deployment.spec.template;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name,
      namespace: deployment.metadata.namespace ?? "default",
      labels: { ...metadata?.labels, [TEMPLATE_HASH_LABEL]: hash },
      annotations: { ...metadata?.annotations },
    },
    spec,
  };
}
