import type { Deployment, EndpointSlice, KubeObject, Pod, Service } from "#api/resources/kube.ts";
import { conditionsIn } from "#standalone/status-watch.ts";
import { columns } from "#standalone/table.ts";

/** Objects of one kind as a table; [] for none. Pure: `nowMs` is wall time. */
export function objectTable(objects: readonly KubeObject[], nowMs: number): string[] {
  const [first] = objects;
  if (first === undefined) return [];
  const namespaced = first.metadata.namespace !== undefined;
  const { header, row } =
    COLUMNS[first.kind] ?? (first.apiVersion.startsWith("weft.dev/") || first.apiVersion.includes("gateway") ? POLICY : PLAIN);
  const lead = (o: KubeObject): string[] => [...(namespaced ? [o.metadata.namespace ?? ""] : []), o.metadata.name];
  const rows = objects.map((o) => [...lead(o), ...row(o), age(o.metadata.creationTimestamp, nowMs)]);
  return columns([...(namespaced ? ["NAMESPACE"] : []), "NAME", ...header, "AGE"], rows);
}

interface Columns {
  readonly header: readonly string[];
  readonly row: (object: KubeObject) => readonly string[];
}

const PLAIN: Columns = { header: [], row: () => [] };

const POLICY: Columns = {
  header: ["ACCEPTED", "RESOLVED", "PROGRAMMED", "REASON"],
  row: (o) => {
    const conditions = conditionsIn(o.status);
    const of = (type: string): string => conditions.find((c) => c.type === type)?.status ?? "-";
    const bad = conditions.find((c) => c.status === "False");
    return [of("Accepted"), of("ResolvedRefs"), of("Programmed"), bad?.reason ?? "-"];
  },
};

const COLUMNS: Readonly<Record<string, Columns>> = {
  Pod: {
    header: ["READY", "STATUS", "RESTARTS", "ADDRESS", "APP"],
    row: (o) => {
      const { status } = o as Pod & {
        status?: { appAddress?: string; restarts?: number; conditions?: readonly { status: string; reason?: string }[] };
      };
      const [ready] = (status?.conditions ?? []) as readonly { status: string; reason?: string }[];
      const state =
        o.metadata.deletionTimestamp !== undefined ? "Terminating" : ready?.status === "True" ? "Running" : (ready?.reason ?? "Pending");
      return [
        ready?.status === "True" ? "yes" : "no",
        state,
        String(status?.restarts ?? 0),
        status?.podIP ?? "-",
        status?.appAddress ?? "-",
      ];
    },
  },
  Service: {
    header: ["CLUSTER-IP", "PORTS"],
    row: (o) => {
      const { spec } = o as Service;
      return [
        spec.clusterIP ?? "-",
        (spec.ports ?? []).map((p) => `${p.port}${p.appProtocol === undefined ? "" : `/${p.appProtocol}`}`).join(",") || "-",
      ];
    },
  },
  Deployment: {
    header: ["READY", "UPDATED"],
    row: (o) => {
      const { readyReplicas = 0, updatedReplicas = 0 } = (o.status ?? {}) as { readyReplicas?: number; updatedReplicas?: number };
      return [`${readyReplicas}/${(o as Deployment).spec.replicas ?? 1}`, String(updatedReplicas)];
    },
  },
  EndpointSlice: {
    header: ["PORTS", "READY", "ENDPOINTS"],
    row: (o) => {
      const { endpoints = [], ports = [] } = o as EndpointSlice;
      const shown = endpoints.slice(0, 3).flatMap((e) => e.addresses);
      const ready = endpoints.filter((e) => e.conditions?.ready !== false).length;
      return [
        ports.map((p) => String(p.port)).join(",") || "-",
        String(ready),
        `${shown.join(",")}${endpoints.length > 3 ? ` + ${endpoints.length - 3} more` : ""}` || "-",
      ];
    },
  },
};

function age(timestamp: string | undefined, nowMs: number): string {
  const seconds = Math.max(0, Math.floor((nowMs - Date.parse(timestamp ?? "")) / 1000));
  if (Number.isNaN(seconds)) return "-";
  if (seconds < 120) return `${seconds}s`;
  return seconds < 7200
    ? `${Math.floor(seconds / 60)}m`
    : seconds < 172_800
      ? `${Math.floor(seconds / 3600)}h`
      : `${Math.floor(seconds / 86_400)}d`;
}
