import { generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import {
  type DiscoveryRequest,
  DiscoveryRequestSchema,
  type DiscoveryResponse,
  DiscoveryService,
  type Document,
} from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { IdentityService, type IssueResponse } from "#api/gen/weft/identity/v1/identity_pb.ts";
import type { KubeObject } from "#api/resources/kube.ts";
import { proofInput } from "#ca/key.ts";
import { pem } from "#ca/store.ts";
import { SystemClock } from "#runtime/clock.ts";
import { createLogger, type Logger } from "#runtime/logger.ts";
import { MemoryStore } from "./memory-store.ts";
import { createOperator, type Operator } from "./operator.ts";

/** An operator on loopback with a store in memory, and clients for it. For tests. */
export interface TestOperator {
  readonly store: MemoryStore;
  readonly operator: Operator;
  readonly stateDir: string;
  readonly log: string[];
  close(): Promise<void>;
}

export const quietLogger = (log: string[] = []): Logger => createLogger((line) => log.push(line), new SystemClock(), "debug");

export async function startTestOperator(
  objects: readonly KubeObject[],
  stateDir = mkdtempSync(join(tmpdir(), "weft-operator-")),
): Promise<TestOperator> {
  const store = new MemoryStore();
  for (const object of objects) store.apply(object);
  const log: string[] = [];
  const operator = createOperator({
    source: store,
    statusWriter: store,
    attestor: store,
    clock: new SystemClock(),
    random: () => 0.5,
    randomBytes,
    logger: quietLogger(log),
    stateDir,
    listen: { address: "127.0.0.1", grpcPort: 0, adminPort: 0 },
  });
  await operator.start();
  const close = async (): Promise<void> => {
    await operator.stop();
    rmSync(stateDir, { recursive: true, force: true });
  };
  return { store, operator, stateDir, log, close };
}

export interface Svid {
  readonly key: string;
  readonly cert: string;
  readonly ca: string;
  readonly response: IssueResponse;
}

export const newKeys = (): { publicKey: KeyObject; privateKey: KeyObject } => generateKeyPairSync("ec", { namedCurve: "P-256" });

/** A gRPC transport to the operator. Its certificate is verified against nothing when no roots are given: the first contact of a test. */
export function transportTo(port: number, svid: Pick<Svid, "key" | "cert" | "ca"> | null = null) {
  const tls = svid === null ? { rejectUnauthorized: false } : { key: svid.key, cert: svid.cert, ca: svid.ca };
  return createGrpcTransport({ baseUrl: `https://127.0.0.1:${port}`, nodeOptions: { ...tls, checkServerIdentity: () => undefined } });
}

export function requestFor(token: string, keys = newKeys()) {
  const publicKey = new Uint8Array(keys.publicKey.export({ format: "der", type: "spki" }));
  return { publicKey, token, proof: new Uint8Array(sign("sha256", proofInput(token), { key: keys.privateKey, dsaEncoding: "der" })) };
}

/** An SVID got over the wire, for a token granted on the way. */
export async function fetchSvid(test: TestOperator, namespace: string, serviceAccount: string, pod = ""): Promise<Svid> {
  const token = `token ${namespace}/${serviceAccount}/${pod}`;
  test.store.grant(token, { namespace, serviceAccount, pod, podUid: pod });
  const keys = newKeys();
  const response = await createClient(IdentityService, transportTo(test.operator.grpcPort)).issue(requestFor(token, keys));
  return {
    key: keys.privateKey.export({ format: "pem", type: "pkcs8" }) as string,
    cert: response.chain.map((der) => pem("CERTIFICATE", der)).join(""),
    ca: response.roots.map((der) => pem("CERTIFICATE", der)).join(""),
    response,
  };
}

/** One discovery stream: `send` requests, take responses by `next`. */
export class TestStream {
  readonly #queue: DiscoveryRequest[] = [];
  #wake: (() => void) | null = null;
  #ended = false;
  readonly #responses: AsyncIterator<DiscoveryResponse>;

  constructor(port: number, svid: Svid | null) {
    this.#responses = createClient(DiscoveryService, transportTo(port, svid)).stream(this.#requests())[Symbol.asyncIterator]();
  }

  send(
    message: Parameters<typeof create<typeof DiscoveryRequestSchema>>[1] extends infer I
      ? I extends { message?: infer M }
        ? M
        : never
      : never,
  ): void {
    this.#queue.push(create(DiscoveryRequestSchema, { message } as never));
    this.#wake?.();
  }

  hello(pod: string): void {
    this.send({ case: "hello", value: { pod, proxyVersion: "test", features: [] } } as never);
  }

  subscribe(...keys: (string | { key: string; version: string })[]): void {
    const documents = keys.map((k) => (typeof k === "string" ? { key: k } : k));
    this.send({ case: "subscribe", value: { documents } } as never);
  }

  ack(document: Pick<Document, "key" | "version">): void {
    this.send({ case: "ack", value: { key: document.key, version: document.version } } as never);
  }

  nack(document: Pick<Document, "key" | "version">, code: string, reason: string): void {
    this.send({ case: "nack", value: { key: document.key, version: document.version, code, reason } } as never);
  }

  async next(): Promise<DiscoveryResponse["message"]> {
    const result = await this.#responses.next();
    if (result.done === true) throw new Error("the stream ended");
    return result.value.message;
  }

  async document(): Promise<Document> {
    const message = await this.next();
    if (message.case !== "document") throw new Error(`expected a document, got ${message.case}`);
    return message.value;
  }

  async ended(): Promise<boolean> {
    return (await this.#responses.next()).done === true;
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  async *#requests(): AsyncIterable<DiscoveryRequest> {
    while (!this.#ended || this.#queue.length > 0) {
      const request = this.#queue.shift();
      if (request !== undefined) yield request;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }
}

/** Two pods behind a Service of one HTTP port, as the standalone runner keeps them. */
export function shopObjects(replicas = 2): KubeObject[] {
  const pods = Array.from({ length: replicas }, (_, i) => shopPod(i));
  return [shopService(), ...pods, shopSlice(pods.map((_, i) => i))];
}

export function shopService(): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "web", namespace: "shop" },
    spec: { selector: { app: "web" }, ports: [{ name: "http", port: 80, targetPort: 8080, appProtocol: "http" }] },
  };
}

export function shopPod(i: number): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: `web-${i}`, namespace: "shop", labels: { app: "web", version: i % 2 === 0 ? "v1" : "v2" } },
    spec: { serviceAccountName: "web", containers: [{ name: "app", ports: [{ containerPort: 8080, name: "http" }] }] },
    status: { podIP: address(i), phase: "Running", conditions: [{ type: "Ready", status: "True" }] },
  };
}

export function shopSlice(members: readonly number[]): KubeObject {
  const slice = {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name: "web-1", namespace: "shop", labels: { "kubernetes.io/service-name": "web" } },
    addressType: "IPv4",
    endpoints: members.map((i) => ({
      addresses: [address(i)],
      conditions: { ready: true },
      targetRef: { kind: "Pod", name: `web-${i}`, namespace: "shop" },
    })),
    ports: [{ name: "http", port: 8080, protocol: "TCP" }],
  };
  return slice as KubeObject;
}

export function trafficPolicy(spec: unknown, name = "web"): KubeObject {
  return { apiVersion: "weft.dev/v1alpha1", kind: "TrafficPolicy", metadata: { name, namespace: "shop" }, spec };
}

function address(i: number): string {
  return `10.0.${Math.floor(i / 200)}.${(i % 200) + 1}`;
}
