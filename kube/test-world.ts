import type { Clock } from "#api/clock.ts";
import type { KubeObject } from "#api/resources/kube.ts";
import type { Change } from "#api/store.ts";
import { SystemClock } from "#runtime/clock.ts";
import { createLogger, type Logger } from "#runtime/logger.ts";
import { MetricsRegistry } from "#runtime/metrics-server.ts";
import { KubeClient } from "./client.ts";
import { Credentials } from "./credentials.ts";
import type { ClusterAccess, Credential } from "./kubeconfig.ts";
import { KUBE_METRICS } from "./metrics.ts";
import type { ReflectorHandlers } from "./reflector.ts";
import { nameOf } from "./resource.ts";

/** What tests of this room have in common. */

export function accessTo(server: string, credential: Credential = { kind: "none" }): ClusterAccess {
  return { server, ca: null, tlsServerName: "", insecureSkipTlsVerify: false, credential, namespace: "default" };
}

export function clientOf(access: ClusterAccess, clock: Clock = new SystemClock()): KubeClient {
  return new KubeClient(access, new Credentials(access, clock, {}), clock);
}

export function quietLogger(log: string[] = []): Logger {
  return createLogger((line) => log.push(line), new SystemClock(), "debug");
}

export function kubeMetrics(): MetricsRegistry {
  return new MetricsRegistry(KUBE_METRICS);
}

/** A series' value in the exposition, 0 when it is not there. */
export async function metric(registry: MetricsRegistry, series: string): Promise<number> {
  const found = (await registry.text()).split("\n").find((one) => one.startsWith(`${series} `));
  return found === undefined ? 0 : Number(found.slice(series.length + 1));
}

/** Waits until it is so; rejects with `what` after `ms`. */
export async function until(what: string, isSo: () => boolean | Promise<boolean>, ms = 10_000): Promise<void> {
  const clock = new SystemClock();
  const endMs = clock.monotonicMs() + ms;
  while (!(await isSo())) {
    if (clock.monotonicMs() > endMs) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise<void>((resolve) => clock.after(5, resolve));
  }
}

/** Handlers that keep the copy which a listener of a reflector would have, from what they are told alone. */
export class Listener implements ReflectorHandlers {
  readonly told: string[] = [];
  readonly held = new Map<string, KubeObject>();
  syncs = 0;

  onSync(objects: readonly KubeObject[]): void {
    this.syncs++;
    this.held.clear();
    for (const object of objects) this.held.set(nameOf(object), object);
  }

  onChange({ type, object }: Change): void {
    this.told.push(`${type} ${nameOf(object)} ${object.metadata.uid ?? ""}`);
    if (type === "applied") this.held.set(nameOf(object), object);
    else this.held.delete(nameOf(object));
  }

  onConnected(connected: boolean): void {
    this.told.push(connected ? "connected" : "lost");
  }

  /** Names, uids and revisions of all that is held, sorted. */
  content(): string[] {
    return contentOf([...this.held.values()]);
  }
}

export function contentOf(objects: readonly KubeObject[]): string[] {
  return objects.map((object) => `${nameOf(object)} ${object.metadata.uid} ${object.metadata.resourceVersion}`).sort();
}
