/**
 * Reading objects that come from anywhere. The API server has checked a pod's shape before it asks us, but the port is
 * open to the cluster: whatever has another shape reads as empty, and nothing here throws.
 */
export type Json = Readonly<Record<string, unknown>>;

export function record(value: unknown): Json {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : {};
}

export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** One container of a pod, and where it stands. */
export interface ContainerAt {
  readonly name: string;
  /** "spec.containers[0]". */
  readonly path: string;
  readonly container: Json;
}

const CONTAINER_LISTS = ["initContainers", "containers", "ephemeralContainers"] as const;

/** Every container of a pod, of all three lists. */
export function containersOf(pod: Json): ContainerAt[] {
  const spec = record(pod["spec"]);
  return CONTAINER_LISTS.flatMap((field) =>
    list(spec[field]).map((item, i) => ({
      name: text(record(item)["name"]),
      path: `spec.${field}[${i}]`,
      container: record(item),
    })),
  );
}

/** A label or annotation; undefined when there is none. */
export function metadataValue(pod: Json, field: "labels" | "annotations", key: string): string | undefined {
  const values = record(record(pod["metadata"])[field]);
  return Object.hasOwn(values, key) ? text(values[key]) : undefined;
}
