import type { Edge } from "./edges.ts";
import { formatProblem, type ManifestProblem } from "./yaml-file.ts";

/** Everything that a run tells its user; `-o json` prints them as they are, one a line. */
export type RunEvent =
  | { readonly type: "starting"; readonly folder: string; readonly state: string; readonly range: string }
  | { readonly type: "problem"; readonly problem: ManifestProblem }
  | { readonly type: "applied"; readonly files: readonly string[]; readonly changed: number }
  | { readonly type: "kept"; readonly files: readonly string[] }
  | { readonly type: "operator-ready"; readonly address: string; readonly afterMs: number }
  | { readonly type: "pod-ready"; readonly pod: string; readonly afterMs: number }
  | { readonly type: "pod-not-ready"; readonly pod: string; readonly why: string }
  | { readonly type: "pod-removed"; readonly pod: string }
  | {
      readonly type: "crashed";
      readonly process: string;
      readonly how: string;
      readonly restartInMs: number;
      readonly tail: readonly string[];
      readonly log: string;
    }
  | { readonly type: "warning"; readonly code: string; readonly message: string; readonly remedy: string }
  | { readonly type: "logged"; readonly process: string; readonly message: string }
  | { readonly type: "held"; readonly what: string }
  | { readonly type: "released"; readonly what: string }
  | { readonly type: "first-request"; readonly afterMs: number; readonly edge: Edge }
  | { readonly type: "edges"; readonly edges: readonly Edge[] }
  | { readonly type: "stopping"; readonly why: string }
  | { readonly type: "stopped" };

export type Report = (event: RunEvent) => void;

/** The event as one or more lines for people; null: nothing to say. Tables are drawn elsewhere. */
export function sentence(event: RunEvent): string | null {
  switch (event.type) {
    case "starting":
      return `▸ running ${event.folder} on ${event.range} (state in ${event.state})`;
    case "problem":
      return `${event.problem.severity === "error" ? "✗" : "!"} ${formatProblem(event.problem)}`;
    case "applied":
      return `▸ applied ${event.files.join(", ")}: ${event.changed === 1 ? "1 object" : `${event.changed} objects`} changed`;
    case "kept":
      return `! what ${event.files.join(", ")} said before stays in force`;
    case "operator-ready":
      return `▸ operator ready on ${event.address} after ${seconds(event.afterMs)} s`;
    case "pod-ready":
      return `▸ pod ${event.pod} ready after ${seconds(event.afterMs)} s`;
    case "pod-not-ready":
      return `! pod ${event.pod} is not ready: ${event.why}`;
    case "pod-removed":
      return `▸ pod ${event.pod} removed`;
    case "crashed": {
      const tail = event.tail.map((line) => `\n    ${line}`).join("");
      return `✗ ${event.process}: ended with ${event.how}, restarts in ${event.restartInMs} ms (log: ${event.log})${tail}`;
    }
    case "warning":
      return `! ${event.code}: ${event.message}. ${event.remedy}`;
    case "logged":
      return `! ${event.process}: ${event.message}`;
    case "held":
      return `▸ ${event.what} stopped; \`weft start ${event.what}\` brings it back`;
    case "released":
      return `▸ ${event.what} started`;
    case "first-request":
      return `first routed request after ${seconds(event.afterMs)} s: ${firstRequest(event.edge)}`;
    case "edges":
      return null;
    case "stopping":
      return `▸ stopping (${event.why})`;
    case "stopped":
      return "▸ stopped; nothing is left running";
  }
}

function firstRequest(edge: Edge): string {
  const subset = edge.subset === "" ? "" : ` ${edge.subset}`;
  return `${edge.method === "" ? "" : `${edge.method} `}${edge.from} → ${edge.to}${subset}, ${edge.lastStatus}, ${edge.tls === "mtls" ? "mTLS" : "plaintext"}`;
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(1);
}
