import { create } from "@bufbuild/protobuf";
import { Code, type ConnectError } from "@connectrpc/connect";
import {
  type DiscoveryRequest,
  type DiscoveryResponse,
  DiscoveryResponseSchema,
  type Hello,
  type Known,
} from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import type { Current } from "./document-cache.ts";
import type { Peer } from "./peer.ts";
import { rpcError } from "./rpc-error.ts";

/** Subscriptions of one stream: five times what a proxy keeps as last-good. */
export const SUBSCRIPTIONS_MAX = 5000;
/** Characters: two names of 253, a port, and what stands between. */
export const KEY_CHARS_MAX = 600;

/** What became of the newest thing told about a key. `absent`: there is no such document. */
export type SubscriptionState = "pending" | "acked" | "nacked" | "absent";

interface Subscription {
  readonly key: string;
  /** Version that the subscriber holds and stands by; "" for none. */
  held: string;
  /** The document's epoch when `held` was current. */
  heldEpoch: number;
  /** Last version sent; "" when it was Removed; null: nothing yet. */
  told: string | null;
  /** Sent and not yet answered, with its epoch. At most one: newer versions wait and coalesce. */
  inFlight: { readonly version: string; readonly epoch: number } | null;
  state: SubscriptionState;
}

/** What a session needs of the rest of the operator. */
export interface SessionHost {
  current(key: string): Current;
  messages(key: string, held: string): readonly DiscoveryResponse[];
  /** Highest revision that anything was planned from: what a Removed carries. */
  revision(): bigint;
  subscribed(session: Session, key: string): void;
  unsubscribed(session: Session, key: string): void;
  /** From null when the subscription is new, to null when it ends. */
  moved(from: SubscriptionState | null, to: SubscriptionState | null): void;
  acked(session: Session, key: string, version: string): void;
  nacked(session: Session, key: string, version: string, code: string, reason: string): void;
}

/**
 * One discovery stream as a state machine without I/O: requests go in by `receive`, responses are drawn by
 * `next` when the transport has room. Nothing is queued but keys, so a slow reader costs no memory.
 */
export class Session {
  readonly peer: Peer;
  readonly #host: SessionHost;
  readonly #subscriptions = new Map<string, Subscription>();
  /** Keys of which there may be something to tell, oldest first. */
  readonly #ready = new Set<string>();
  /** Remaining slices of the document being sent. */
  #slices: readonly DiscoveryResponse[] = [];
  #hello: Hello | null = null;
  /** Goodbye that is still to be said. */
  #goodbye = "";
  #finished = false;

  constructor(peer: Peer, host: SessionHost) {
    this.peer = peer;
    this.#host = host;
  }

  get pod(): string {
    return this.#hello?.pod ?? "";
  }

  /** True after `finish` or `close`: once `next` answers null, there will be nothing more. */
  get finished(): boolean {
    return this.#finished;
  }

  /** Takes one request; throws the error that must end the stream. */
  receive(request: DiscoveryRequest): void {
    const { message } = request;
    if (this.#hello === null && message.case !== "hello") throw badStream("the first message must be Hello");
    switch (message.case) {
      case "hello":
        if (this.#hello !== null) throw badStream("Hello came twice");
        if (message.value.pod === "" || message.value.pod.length > 253)
          throw badStream("Hello must name the pod, in at most 253 characters");
        this.#hello = message.value;
        return;
      case "subscribe":
        for (const known of message.value.documents) this.#subscribe(known);
        return;
      case "unsubscribe":
        for (const key of message.value.keys) this.#unsubscribe(key);
        return;
      case "ack":
        this.#ack(message.value.key, message.value.version);
        return;
      case "nack":
        this.#nack(message.value.key, message.value.version, message.value.code, message.value.reason);
        return;
      default:
        // A newer proxy may say what we do not know: release N talks to N-1.
        return;
    }
  }

  /** There may be something new to tell about this key. */
  notify(key: string): void {
    if (this.#subscriptions.has(key)) this.#ready.add(key);
  }

  /** The next thing to send; null when there is nothing now. Throws the error that must end the stream. */
  next(): DiscoveryResponse | null {
    const [slice, ...rest] = this.#slices;
    if (slice !== undefined) {
      this.#slices = rest;
      return slice;
    }
    if (this.#goodbye !== "") {
      const reason = this.#goodbye;
      this.#goodbye = "";
      return create(DiscoveryResponseSchema, { message: { case: "goodbye", value: { reason } } });
    }
    if (this.#finished) return null;
    for (const key of this.#ready) {
      this.#ready.delete(key);
      const response = this.#tell(key);
      if (response !== null) return response;
    }
    return null;
  }

  /** Tells the subscriber to go elsewhere. It is served until it does, or until `finish`. */
  sayGoodbye(reason: string): void {
    this.#goodbye = reason;
  }

  /** Ends the stream after what is being sent. */
  finish(): void {
    this.#finished = true;
  }

  /** The stream is gone. */
  close(): void {
    this.#finished = true;
    this.#goodbye = "";
    this.#slices = [];
    this.#ready.clear();
    for (const key of [...this.#subscriptions.keys()]) this.#unsubscribe(key);
  }

  /** Null when it does not hold the key; otherwise how far it has come. `absent` holds nothing. */
  progress(key: string): { readonly heldEpoch: number; readonly state: SubscriptionState } | null {
    return this.#subscriptions.get(key) ?? null;
  }

  #subscribe({ key, version }: Known): void {
    if (key.length > KEY_CHARS_MAX) throw badStream(`a key has at most ${KEY_CHARS_MAX} characters`);
    const before = this.#subscriptions.get(key);
    if (before === undefined && this.#subscriptions.size >= SUBSCRIPTIONS_MAX) {
      throw rpcError(Code.ResourceExhausted, "WEFT_BAD_STREAM", `a stream has at most ${SUBSCRIPTIONS_MAX} subscriptions`);
    }
    this.#refuseOthersWorkload(key);
    // Asked again: it starts from what the subscriber says it holds, whatever was on its way.
    this.#subscriptions.set(key, { key, held: version, heldEpoch: 0, told: null, inFlight: null, state: "pending" });
    this.#host.moved(before?.state ?? null, "pending");
    if (before === undefined) this.#host.subscribed(this, key);
    this.#ready.add(key);
  }

  #unsubscribe(key: string): void {
    const subscription = this.#subscriptions.get(key);
    if (subscription === undefined) return;
    this.#subscriptions.delete(key);
    this.#ready.delete(key);
    this.#host.moved(subscription.state, null);
    this.#host.unsubscribed(this, key);
  }

  #ack(key: string, version: string): void {
    const subscription = this.#answered(key, version);
    if (subscription === null) return;
    subscription.held = version;
    this.#host.acked(this, key, version);
  }

  #nack(key: string, version: string, code: string, reason: string): void {
    if (this.#answered(key, version, "nacked") === null) return;
    this.#host.nacked(this, key, version, code, reason);
  }

  /** The subscription whose sent version is answered; null for an answer to something else, which is passed over. */
  #answered(key: string, version: string, state: "acked" | "nacked" = "acked"): Subscription | null {
    const subscription = this.#subscriptions.get(key);
    const sent = subscription?.inFlight;
    if (subscription === undefined || sent === null || sent === undefined || sent.version !== version) return null;
    subscription.inFlight = null;
    if (state === "acked") subscription.heldEpoch = sent.epoch;
    this.#move(subscription, state);
    // What changed meanwhile was held back.
    this.#ready.add(key);
    return subscription;
  }

  #tell(key: string): DiscoveryResponse | null {
    const subscription = this.#subscriptions.get(key);
    if (subscription === undefined || subscription.inFlight !== null) return null;
    const { encoded, epoch } = this.#host.current(key);
    const first = subscription.told === null;
    if (encoded === null) {
      if (subscription.told === "") return null;
      Object.assign(subscription, { told: "", held: "", heldEpoch: epoch });
      this.#move(subscription, "absent");
      return create(DiscoveryResponseSchema, { message: { case: "removed", value: { key, resourceVersion: this.#host.revision() } } });
    }
    if (subscription.told === encoded.version) return null;
    if (encoded.owner !== null && encoded.owner !== this.peer.id) throw notYours(key);
    subscription.told = encoded.version;
    if (first && subscription.held === encoded.version) {
      subscription.heldEpoch = epoch;
      this.#move(subscription, "acked");
      this.#host.acked(this, key, encoded.version);
      return create(DiscoveryResponseSchema, { message: { case: "current", value: { key, version: encoded.version } } });
    }
    subscription.inFlight = { version: encoded.version, epoch };
    this.#move(subscription, "pending");
    const [message, ...slices] = this.#host.messages(key, subscription.held);
    this.#slices = slices;
    return message ?? null;
  }

  #move(subscription: Subscription, to: SubscriptionState): void {
    if (subscription.state === to) return;
    this.#host.moved(subscription.state, to);
    subscription.state = to;
  }

  /** A workload document is for the pod's own proxy: its namespace by SVID, its name by Hello. The service account is compared once the pod is known. */
  #refuseOthersWorkload(key: string): void {
    if (key.startsWith("workload/") && key !== `workload/${this.peer.namespace}/${this.pod}`) throw notYours(key);
  }
}

function badStream(detail: string): ConnectError {
  return rpcError(Code.InvalidArgument, "WEFT_BAD_STREAM", detail);
}

function notYours(key: string): ConnectError {
  return rpcError(Code.PermissionDenied, "WEFT_NOT_YOURS", `${key.slice(0, KEY_CHARS_MAX)} is another's`);
}
