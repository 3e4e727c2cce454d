import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { fetchSvid, shopObjects, type Svid, startTestOperator, type TestOperator } from "./test-operator.ts";

const PROTO = join(dirname(fileURLToPath(import.meta.url)), "..", "api", "proto");

interface Message {
  document?: {
    key: string;
    version: string;
    resourceVersion: string;
    service?: { name: string; port: number };
    endpoints?: { upserts: { address: string; spiffeId: string }[]; more: boolean };
  };
  current?: { key: string; version: string };
}
type Stream = grpc.ClientDuplexStream<unknown, Message>;

/** The service as any gRPC program sees it: from the .proto files alone. */
function openStream(port: number, svid: Svid): { stream: Stream; close: () => void } {
  const definition = loadSync("weft/discovery/v1/discovery.proto", { includeDirs: [PROTO], longs: String, defaults: true, oneofs: true });
  const weft = grpc.loadPackageDefinition(definition)["weft"] as unknown as {
    discovery: { v1: { DiscoveryService: grpc.ServiceClientConstructor } };
  };
  const credentials = grpc.credentials.createSsl(Buffer.from(svid.ca), Buffer.from(svid.key), Buffer.from(svid.cert));
  const client = new weft.discovery.v1.DiscoveryService(`127.0.0.1:${port}`, credentials, {
    "grpc.ssl_target_name_override": "weft-operator.weft-system.svc",
  });
  const open = client["Stream"] as unknown as () => Stream;
  return { stream: open.call(client), close: () => client.close() };
}

describe("a foreign gRPC client", () => {
  let test: TestOperator;
  beforeAll(async () => {
    test = await startTestOperator(shopObjects(250));
  });
  afterAll(async () => test.close());

  it("reads documents with grpc-js, the .proto files and a fetched SVID", async () => {
    const { stream, close } = openStream(test.operator.grpcPort, await fetchSvid(test, "shop", "web"));
    const messages = stream[Symbol.asyncIterator]() as AsyncIterator<Message>;
    stream.write({ hello: { pod: "web-0", proxyVersion: "foreign", features: [] } });
    stream.write({ subscribe: { documents: [{ key: "service/shop/web/80" }, { key: "endpoints/shop/web/80" }] } });
    const service = (await messages.next()).value as Message;
    assert.equal(service.document?.key, "service/shop/web/80");
    assert.equal(service.document?.service?.port, 80);
    assert.ok(BigInt(service.document?.resourceVersion ?? "0") > 0n);
    const slices: Message[] = [];
    for (let n = 0; n < 3; n++) slices.push((await messages.next()).value as Message);
    const endpoints = slices.map((s) => s.document?.endpoints);
    assert.deepEqual(
      endpoints.map((e) => [e?.upserts.length, e?.more]),
      [
        [100, true],
        [100, true],
        [50, false],
      ],
    );
    assert.equal(new Set(slices.map((s) => s.document?.version)).size, 1);
    assert.equal(new Set(endpoints.flatMap((e) => e?.upserts.map((u) => u.address) ?? [])).size, 250);
    assert.equal(endpoints[0]?.upserts[0]?.spiffeId, "spiffe://cluster.local/ns/shop/sa/web");
    stream.write({ ack: { key: "endpoints/shop/web/80", version: slices[0]?.document?.version } });
    stream.write({ subscribe: { documents: [{ key: "service/shop/web/80", version: service.document?.version }] } });
    const current = (await messages.next()).value as Message;
    assert.equal(current.current?.version, service.document?.version);
    stream.end();
    assert.equal((await messages.next()).done, true);
    close();
  });
});
