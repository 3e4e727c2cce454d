import assert from "node:assert/strict";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type DiscoveryRequest,
  DiscoveryRequestSchema,
  type DiscoveryResponse,
  DiscoveryResponseSchema,
  EndpointsSchema,
  ServiceSchema,
} from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import type { SpiffeId } from "#api/spiffe.ts";
import { MetricsRegistry } from "#runtime/metrics-server.ts";
import { ManualClock } from "#testing/manual-clock.ts";
import type { Planned } from "./encode.ts";
import { COALESCE_MS, GOODBYE_MS, Hub, type OpenStream, STREAM_MS } from "./hub.ts";
import { quietLogger } from "./test-operator.ts";

const PEER = { id: "spiffe://cluster.local/ns/shop/sa/web" as SpiffeId, namespace: "shop", serviceAccount: "web" };
const KEY = "endpoints/shop/web/80";
type Message = Parameters<typeof create<typeof DiscoveryRequestSchema>>[1];

/** A hub over documents that a test makes up. */
function setUp(random = 0.5) {
  const clock = new ManualClock();
  const documents = new Map<string, Planned>();
  const planned: string[] = [];
  const metrics = new MetricsRegistry([
    "weft_operator_streams",
    "weft_document_subscribers",
    "weft_document_nacks_total",
    "weft_operator_plan_duration_seconds",
    "weft_operator_propagation_seconds",
  ]);
  const plan = (key: string): Planned | null => {
    planned.push(key);
    return documents.get(key) ?? null;
  };
  const hub = new Hub({ plan, revision: () => 7n, clock, random: () => random, logger: quietLogger(), metrics, onProgress: () => {} });
  let revision = 0n;
  const service = (key: string, name: string): void => {
    documents.set(key, {
      key,
      resourceVersion: ++revision,
      requires: [],
      body: { case: "service", value: create(ServiceSchema, { name }) },
    });
    hub.invalidate([key]);
  };
  const endpoints = (addresses: readonly string[]): void => {
    const value = create(EndpointsSchema, { upserts: addresses.map((address) => ({ address, port: 80, ready: true })) });
    documents.set(KEY, { key: KEY, resourceVersion: ++revision, requires: [], body: { case: "endpoints", value } });
    hub.invalidate([KEY]);
  };
  return { clock, hub, metrics, planned, service, endpoints };
}

const send = (stream: OpenStream, message: Message): void =>
  stream.session.receive(create(DiscoveryRequestSchema, message) as DiscoveryRequest);
const open = (hub: Hub, ...keys: { key: string; version?: string }[]): OpenStream => {
  const stream = hub.open(PEER);
  send(stream, { message: { case: "hello", value: { pod: "web-0" } } });
  send(stream, { message: { case: "subscribe", value: { documents: keys } } });
  return stream;
};
const decode = (response: DiscoveryResponse | null) =>
  response === null ? null : fromBinary(DiscoveryResponseSchema, toBinary(DiscoveryResponseSchema, response)).message;
const document = (stream: OpenStream) => {
  const message = decode(stream.session.next());
  assert.ok(message?.case === "document", `${message?.case ?? "nothing"} instead of a document`);
  const { key, version, body } = message.value;
  return {
    key,
    version,
    endpoints: body.case === "endpoints" ? body.value : create(EndpointsSchema),
    service: body.case === "service" ? body.value.name : "",
  };
};
const ack = (stream: OpenStream, of: { key: string; version: string }): void =>
  send(stream, { message: { case: "ack", value: { key: of.key, version: of.version } } });

describe("the hub", () => {
  it("plans what has subscribers only, once for all changes within five milliseconds", () => {
    const { clock, hub, planned, service } = setUp();
    service("a", "1");
    service("b", "1");
    const stream = open(hub, { key: "a" });
    ack(stream, document(stream));
    planned.length = 0;
    service("a", "2");
    clock.advance(COALESCE_MS - 1);
    service("a", "3");
    service("b", "2");
    assert.deepEqual(planned, []);
    clock.advance(1);
    assert.deepEqual(planned, ["a"]);
    assert.equal(document(stream).service, "3");
  });

  it("encodes a version once: all streams get the same bytes", () => {
    const { hub, service } = setUp();
    service("a", "1");
    const [one, two] = [open(hub, { key: "a" }), open(hub, { key: "a" })];
    assert.equal(one.session.next(), two.session.next());
  });

  it("says nothing when content stays the same while revisions move", () => {
    const { clock, hub, service } = setUp();
    service("a", "1");
    const stream = open(hub, { key: "a" });
    ack(stream, document(stream));
    service("a", "1");
    clock.advance(COALESCE_MS);
    assert.equal(stream.session.next(), null);
  });

  it("has at most one version of a key on its way and jumps to the newest", () => {
    const { clock, hub, service } = setUp();
    service("a", "0");
    const stream = open(hub, { key: "a" });
    const first = document(stream);
    for (let n = 1; n <= 100; n++) {
      service("a", String(n));
      clock.advance(COALESCE_MS);
      assert.equal(stream.session.next(), null);
    }
    ack(stream, first);
    assert.equal(document(stream).service, "100");
  });

  it("tells every stream of a version that one of them drew before the flush", () => {
    const { clock, hub, service } = setUp();
    service("a", "1");
    const old = open(hub, { key: "a" });
    ack(old, document(old));
    service("a", "2");
    assert.equal(document(open(hub, { key: "a" })).service, "2");
    clock.advance(COALESCE_MS);
    assert.equal(document(old).service, "2");
  });

  it("makes deltas from any of the last eight versions and whole states from older ones", () => {
    const { clock, hub, endpoints } = setUp();
    const versions: string[] = [];
    for (let n = 1; n <= 10; n++) {
      endpoints(Array.from({ length: n }, (_, i) => `10.0.0.${i}`));
      clock.advance(COALESCE_MS);
      versions.push(document(open(hub, { key: KEY })).version);
    }
    const base = (version = ""): string => document(open(hub, { key: KEY, version })).endpoints.base;
    assert.equal(base(versions[8]), versions[8]);
    assert.equal(base(versions[2]), versions[2]);
    assert.equal(base(versions[1]), "");
  });

  it("sends more than a hundred changes as a whole state in slices", () => {
    const { clock, hub, endpoints } = setUp();
    const range = (from: number, to: number): string[] =>
      Array.from({ length: to - from }, (_, i) => `10.0.${Math.floor((from + i) / 250)}.${(from + i) % 250}`);
    endpoints(range(0, 150));
    const stream = open(hub, { key: KEY });
    const [first, second] = [document(stream), document(stream)];
    assert.deepEqual(
      [first.endpoints.upserts.length, first.endpoints.more, second.endpoints.upserts.length, second.endpoints.more],
      [100, true, 50, false],
    );
    ack(stream, first);
    endpoints(range(0, 250));
    clock.advance(COALESCE_MS);
    assert.deepEqual([document(stream).endpoints.base, stream.session.next() !== null], [first.version, false]);
    const fresh = open(hub, { key: KEY, version: first.version });
    assert.equal(document(fresh).endpoints.upserts.length, 100);
    ack(stream, { key: KEY, version: "not what was sent" });
    assert.equal(stream.session.next(), null);
  });

  it("starts a delta from the last ack, not from the last version sent", () => {
    const { clock, hub, endpoints } = setUp();
    endpoints(["10.0.0.1"]);
    const stream = open(hub, { key: KEY });
    const first = document(stream);
    ack(stream, first);
    endpoints(["10.0.0.1", "10.0.0.2"]);
    clock.advance(COALESCE_MS);
    const second = document(stream);
    send(stream, { message: { case: "nack", value: { key: KEY, version: second.version, code: "X", reason: "no" } } });
    endpoints(["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    clock.advance(COALESCE_MS);
    const third = document(stream);
    assert.equal(third.endpoints.base, first.version);
    assert.equal(third.endpoints.upserts.length, 2);
  });

  it("versions endpoints by what they are, not by their order", () => {
    const { clock, hub, endpoints } = setUp();
    endpoints(["10.0.0.1", "10.0.0.2"]);
    const stream = open(hub, { key: KEY });
    ack(stream, document(stream));
    endpoints(["10.0.0.2", "10.0.0.1"]);
    clock.advance(COALESCE_MS);
    assert.equal(stream.session.next(), null);
  });

  it("counts subscriptions by state and forgets those of a closed stream", async () => {
    const { hub, metrics, service } = setUp();
    for (const key of ["a", "b", "c"]) service(key, key);
    const stream = open(hub, { key: "a" }, { key: "b" }, { key: "c" }, { key: "none" });
    const [a, b] = [document(stream), document(stream)];
    ack(stream, a);
    send(stream, { message: { case: "nack", value: { key: "b", version: b.version, code: "made up by a peer", reason: "" } } });
    const text = await metrics.text();
    assert.match(text, /state="acked"\} 1\n/);
    assert.match(text, /state="nacked"\} 1\n/);
    assert.match(text, /state="pending"\} 2\n/);
    assert.match(text, /weft_document_nacks_total\{code="_OTHER"\} 1/);
    hub.close(stream);
    assert.match(await metrics.text(), /state="pending"\} 0\n/);
  });

  it.each([
    { random: 0, lifeMs: STREAM_MS * 0.8 },
    { random: 0.5, lifeMs: STREAM_MS },
    { random: 0.999, lifeMs: STREAM_MS * 1.1996 },
  ])("ends a stream by Goodbye after about half an hour ($random)", ({ random, lifeMs }) => {
    const { clock, hub } = setUp(random);
    const stream = hub.open(PEER);
    let woken = 0;
    stream.wake = () => woken++;
    hub.limitLife(stream);
    clock.advance(lifeMs - 1000);
    assert.equal(woken, 0);
    clock.advance(1001);
    assert.equal(woken, 1);
    assert.equal(decode(stream.session.next())?.case, "goodbye");
    assert.equal(stream.session.finished, false);
    clock.advance(GOODBYE_MS);
    assert.equal(stream.session.finished, true);
  });
});
