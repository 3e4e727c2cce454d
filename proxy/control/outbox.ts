import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type DiscoveryRequest, DiscoveryRequestSchema } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import type { Refusal } from "./checks.ts";

type Message = NonNullable<MessageInitShape<typeof DiscoveryRequestSchema>["message"]>;
type Known = { readonly key: string; readonly version: string; readonly resourceVersion: bigint };

/** Keys in one Subscribe or Unsubscribe. */
const KEYS_PER_REQUEST = 500;

/** Requests in the order in which they are to be sent; neighbours of one kind become one. Takes nothing while no stream is open. */
export class Outbox {
  private readonly onFirst: () => void;
  private requests: DiscoveryRequest[] = [];
  private open = false;

  /** `onFirst` is called when there is something to take; not again until it was taken. */
  constructor(onFirst: () => void) {
    this.onFirst = onFirst;
  }

  /** Empties it, and opens or closes it. */
  reset(open: boolean): void {
    this.open = open;
    this.requests = [];
  }

  take(): DiscoveryRequest[] {
    const requests = this.requests;
    this.requests = [];
    return requests;
  }

  hello(pod: string, proxyVersion: string, features: readonly string[]): void {
    this.push({ case: "hello", value: { pod, proxyVersion, features: [...features] } });
  }

  subscribe({ key, version, resourceVersion }: Known): void {
    const known = { key, version, resourceVersion: version === "" ? 0n : resourceVersion };
    const last = this.requests.at(-1)?.message;
    if (last?.case === "subscribe" && last.value.documents.length < KEYS_PER_REQUEST) {
      last.value.documents.push({ $typeName: "weft.discovery.v1.Known", ...known });
    } else {
      this.push({ case: "subscribe", value: { documents: [known] } });
    }
  }

  unsubscribe(key: string): void {
    const last = this.requests.at(-1)?.message;
    if (last?.case === "unsubscribe" && last.value.keys.length < KEYS_PER_REQUEST) last.value.keys.push(key);
    else this.push({ case: "unsubscribe", value: { keys: [key] } });
  }

  ack(key: string, version: string): void {
    this.push({ case: "ack", value: { key, version } });
  }

  nack(key: string, version: string, { code, reason }: Refusal): void {
    this.push({ case: "nack", value: { key, version, code, reason } });
  }

  private push(message: Message): void {
    if (!this.open) return;
    this.requests.push(create(DiscoveryRequestSchema, { message }));
    if (this.requests.length === 1) this.onFirst();
  }
}
