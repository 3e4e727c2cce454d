import type { ProxyError } from "./errors.ts";

/** What an exchange may know of the connection that carries its attempt. */
export interface Upstream {
  /** Why the connection could not be made; null while it is being made, when it was, and when it broke later. */
  readonly failure: ProxyError | null;
  /** The connection was made (and its TLS handshake passed). */
  readonly established: boolean;
  /** It had carried a request before this one. */
  readonly reused: boolean;
  /** Requests on it whose body is over 1 MiB and in flight. */
  bulk: number;
}
