import fs from "node:fs";
import type { Clock } from "#api/clock.ts";
import { PORTS } from "#api/ports.ts";
import type { ControlActions, ControlAnswer } from "./control.ts";
import type { Report } from "./events.ts";
import type { OperatorProcess } from "./operator-process.ts";
import type { Scraper } from "./scrape.ts";
import type { StatusWatch } from "./status-watch.ts";
import type { Supervisor } from "./supervisor.ts";
import { findTarget } from "./targets.ts";

/** Longest wait of `weft start` for readiness, milliseconds. */
const READY_MS = 15_000;
const LOOK_MS = 25;
/** Edges older than this are scraped anew for `weft get edges`, milliseconds. */
const EDGES_AGE_MS = 500;

export interface RunParts {
  readonly clock: Clock;
  readonly report: Report;
  readonly supervisor: Supervisor;
  readonly operator: OperatorProcess;
  readonly scraper: Scraper;
  readonly statuses: StatusWatch;
  readonly bundlePath: string;
  readonly folder: string;
  readonly range: string;
}

/** What the control socket does to a run. */
export function controlActions(parts: RunParts): ControlActions {
  const { supervisor, operator, report } = parts;
  const resolve = (word: string) => findTarget(word, supervisor.pods());
  return {
    stop: async (word): Promise<ControlAnswer> => {
      const target = resolve(word);
      if (typeof target === "string") return { ok: false, message: target };
      if ("operator" in target) await operator.stop();
      else await supervisor.hold(target.pod, target.part);
      report({ type: "held", what: word });
      return { ok: true, message: `${word} stopped` };
    },
    start: async (word): Promise<ControlAnswer> => {
      const target = resolve(word);
      if (typeof target === "string") return { ok: false, message: target };
      if ("operator" in target) operator.start();
      else target.pod.release(target.part);
      report({ type: "released", what: word });
      const ready = (): boolean => ("operator" in target ? operator.ready : target.pod.ready);
      const well = await waitUntil(ready, parts.clock);
      return { ok: true, message: well ? `${word} started and ready` : `${word} started, not ready yet` };
    },
    state: async () => ({
      folder: parts.folder,
      range: parts.range,
      pid: process.pid,
      operator: { address: operator.address, ready: operator.ready, held: operator.held, pid: operator.pid, restarts: operator.restarts },
      pods: supervisor.pods().map((p) => ({
        name: p.name,
        ready: p.ready,
        ...p.state,
        podAddress: p.options.podAddress,
        appAddress: p.options.appAddress,
        serviceAccount: p.options.pod.spec.serviceAccountName ?? "default",
        restarts: p.restarts,
        pids: p.pids,
        upstreams: p.options.upstreams.map((u) => ({ service: u.service.metadata.name, address: u.address })),
      })),
      edges: await parts.scraper.edges(EDGES_AGE_MS),
    }),
    identityFacts: () => ({
      operatorAddress: `${operator.address}:${PORTS.operatorGrpc}`,
      trustDomain: supervisor.trustDomain,
      bundle: fs.existsSync(parts.bundlePath) ? fs.readFileSync(parts.bundlePath, "utf8") : "",
    }),
    adminSocket: (namespace, pod) => supervisor.pods().find((p) => p.name === `${namespace}/${pod}`)?.options.adminSocket ?? null,
    onStatus: (ref, status) => parts.statuses.onStatus(ref, status),
  };
}

/** False after 15 s. */
function waitUntil(condition: () => boolean, clock: Clock): Promise<boolean> {
  const deadline = clock.monotonicMs() + READY_MS;
  return new Promise((done) => {
    const look = (): void => {
      if (condition()) done(true);
      else if (clock.monotonicMs() >= deadline) done(false);
      else clock.after(LOOK_MS, look);
    };
    look();
  });
}
