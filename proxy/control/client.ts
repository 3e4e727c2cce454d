import type { Clock, Random } from "#api/clock.ts";
import type { DiscoveryResponse } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import type { Registry } from "../telemetry/metrics.ts";
import type { DocumentStore } from "./documents.ts";
import type { DiscoveryStream, DiscoveryTransport } from "./transport.ts";

export interface DiscoveryClientDependencies {
  readonly transport: DiscoveryTransport;
  readonly documents: DocumentStore;
  /** The IdentityStore: without an identity no stream is opened, with another bundle a new one is. */
  readonly identity: {
    current(): { readonly bundleVersion: string } | null;
    onChange(f: () => void): () => void;
  };
  readonly clock: Clock;
  readonly random: Random;
  readonly registry?: Registry;
  /** A stream ended or could not be made. Called at each attempt: limit the rate of what you log. */
  readonly onDisconnected?: (reason: string) => void;
  readonly onConnected?: () => void;
}

/**
 * Waits between attempts double from 100 ms to 1 s. Not longer: a change must be in force within 2 s of the operator's return, and a
 * refused connection costs next to nothing.
 */
const BACKOFF_FIRST_MS = 100;
const BACKOFF_MAX_MS = 1_000;
/** A stream that lived so long was no failure: the waits begin anew. */
const HEALTHY_MS = 10_000;
/** An operator answers the first subscriptions at once; where packets vanish nothing else would end the attempt. */
const FIRST_MESSAGE_MS = 5_000;
/** On Goodbye and on a new bundle, proxies spread their return over this. */
const LEISURE_MS = 500;

/** How long to wait before the attempt after `failures` failures in a row; jitter from [0, 1) moves it between a half and the whole. */
export function backoffMs(failures: number, jitter: number): number {
  return Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** Math.min(10, Math.max(0, failures - 1))) * (0.5 + jitter / 2);
}

/**
 * Keeps one discovery stream open, for ever: opens, feeds the session, opens again. Decides only when; what is
 * said on the stream is the session's.
 */
export class DiscoveryClient {
  private readonly d: DiscoveryClientDependencies;
  private stream: DiscoveryStream | null = null;
  private bundleVersion = "";
  private openedMs = 0;
  private failures = 0;
  private heard = false;
  private running = false;
  private flushing = false;
  private cancelTimer: () => void = () => {};
  private stopListening: () => void = () => {};

  constructor(dependencies: DiscoveryClientDependencies) {
    this.d = dependencies;
    dependencies.registry?.gaugeFrom("weft_discovery_connected", [], () => (this.connected ? 1 : 0));
  }

  /** True while a stream is open on which the operator has answered. */
  get connected(): boolean {
    return this.stream !== null && this.heard;
  }

  start(): void {
    this.running = true;
    this.stopListening = this.d.identity.onChange(() => this.identityChanged());
    this.d.documents.onRequests(() => this.flushSoon());
    this.open();
  }

  /** Ends the stream. The documents stay in force. */
  close(): void {
    this.running = false;
    this.stopListening();
    this.drop();
  }

  private open(): void {
    this.cancelTimer();
    const identity = this.d.identity.current();
    // Without one the next change of identity opens it.
    if (!this.running || identity === null) return;
    this.bundleVersion = identity.bundleVersion;
    this.openedMs = this.d.clock.monotonicMs();
    this.heard = false;
    let stream: DiscoveryStream | null = null;
    const mine = (): boolean => stream !== null && this.stream === stream;
    try {
      stream = this.d.transport.open({
        onMessage: (response) => {
          if (mine()) this.received(response);
        },
        onClosed: (reason) => {
          if (mine()) this.lost(reason);
        },
      });
    } catch (error) {
      this.lost(error instanceof Error ? error.message : String(error));
      return;
    }
    this.stream = stream;
    this.d.documents.session.opened();
    this.flush();
    this.cancelTimer = this.d.clock.after(FIRST_MESSAGE_MS, () => this.lost("the operator did not answer within 5 s"));
  }

  private received(response: DiscoveryResponse): void {
    if (!this.heard) {
      this.heard = true;
      this.cancelTimer();
      this.d.onConnected?.();
    }
    if (response.message.case === "goodbye") {
      this.reopenAtLeisure();
      return;
    }
    this.d.documents.session.receive(response);
    this.flush();
  }

  private lost(reason: string): void {
    if (this.heard && this.d.clock.monotonicMs() - this.openedMs >= HEALTHY_MS) this.failures = 0;
    this.drop();
    this.failures++;
    this.d.onDisconnected?.(reason);
    this.cancelTimer = this.d.clock.after(backoffMs(this.failures, this.d.random()), () => this.open());
  }

  private drop(): void {
    this.cancelTimer();
    const stream = this.stream;
    this.stream = null;
    this.heard = false;
    stream?.close();
    this.d.documents.session.closed();
  }

  /** The stream in use stays until then: nothing is missed but the moment of changing over. */
  private reopenAtLeisure(): void {
    this.cancelTimer();
    this.cancelTimer = this.d.clock.after(this.d.random() * LEISURE_MS, () => {
      this.drop();
      this.open();
    });
  }

  private identityChanged(): void {
    if (!this.running) return;
    if (this.stream === null) {
      this.open();
      return;
    }
    // A new leaf alone leaves the stream in peace; whom we trust must hold for the operator as well.
    if (this.d.identity.current()?.bundleVersion !== this.bundleVersion) this.reopenAtLeisure();
  }

  /** Requests made in one turn of the event loop go out together. */
  private flushSoon(): void {
    if (this.flushing) return;
    this.flushing = true;
    queueMicrotask(() => {
      this.flushing = false;
      this.flush();
    });
  }

  private flush(): void {
    if (this.stream === null) return;
    for (const request of this.d.documents.session.takeRequests()) this.stream.send(request);
  }
}
