import type { Certificates } from "../certificates.ts";
import type { Processes } from "../processes.ts";

/** Where the load goes, and the processes whose CPU counts. */
export interface Target {
  readonly host: string;
  readonly port: number;
  readonly pids: readonly number[];
}

/** Where the applications listen that every peer leads to. */
export interface Backends {
  readonly host: string;
  readonly httpPort: number;
  readonly echoPort: number;
}

/** What every peer is built from. */
export interface Ground {
  readonly processes: Processes;
  /** Folder of this benchmark's files; removed at its end. */
  readonly folder: string;
  readonly certificates: Certificates;
  readonly backends: Backends;
  /** Envoy's binary; null: there is none. */
  readonly envoy: string | null;
  readonly haproxy: boolean;
}
