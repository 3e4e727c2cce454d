import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compileService } from "#mesh/decide/compile.ts";
import { ManualClock } from "#testing/manual-clock.ts";
import { exposition } from "../telemetry/exposition.ts";
import { Registry } from "../telemetry/metrics.ts";
import { backoffMs, DiscoveryClient } from "./client.ts";
import { DocumentStore } from "./documents.ts";
import { decodeLastGood, encodeLastGood } from "./last-good.ts";
import {
  CART,
  CART_ENDPOINTS,
  current,
  endpoints,
  goodbye,
  PretendedOperator,
  removed,
  service,
  told,
  WORKLOAD,
  workload,
} from "./testdata/wire.ts";

let stateDir: string;
const stores: DocumentStore[] = [];
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), "weft-control-"));
});
afterEach(async () => {
  // A write may be under way.
  await Promise.all(stores.splice(0).map((store) => store.close()));
  rmSync(stateDir, { recursive: true });
});

/** Store and client on a manual clock with a pretended operator. Jitter is always the largest. */
function rig(options: { stateDir?: string } = {}) {
  const clock = new ManualClock();
  const operator = new PretendedOperator();
  const registry = new Registry(clock);
  const failures: unknown[] = [];
  const reasons: string[] = [];
  const documents = new DocumentStore({
    workload: { namespace: "shop", pod: "web-1", serviceAccount: "web" },
    trustDomain: "cluster.local",
    proxyVersion: "test",
    stateDir: options.stateDir ?? stateDir,
    clock,
    compile: compileService,
    registry,
    onWriteFailed: (error) => failures.push(error),
  });
  stores.push(documents);
  const identity = {
    held: { bundleVersion: "b1" } as { bundleVersion: string } | null,
    changed: () => {},
    current: () => identity.held,
    onChange: (f: () => void) => {
      identity.changed = f;
      return () => {
        identity.changed = () => {};
      };
    },
  };
  const client = new DiscoveryClient({
    transport: operator,
    documents,
    identity,
    clock,
    random: () => 1,
    registry,
    onDisconnected: (reason) => reasons.push(reason),
  });
  const cart = (): void => operator.say(told(service("cart", { rv: 10 })), told(endpoints("cart", ["10.0.0.1"], { rv: 10 })));
  return { clock, operator, registry, failures, reasons, documents, identity, client, cart };
}

/** Requests are sent at the end of the turn in which they were made. */
const turn = (): Promise<void> => Promise.resolve();

describe("the document store", () => {
  it("tells whoever waits when the service is in force", () => {
    const r = rig();
    r.client.start();
    const heard: unknown[] = [];
    r.documents.whenService(CART, 3_000, (s) => heard.push(s?.version));
    r.documents.whenService(CART, 3_000, (s) => heard.push(s?.key));
    r.cart();
    assert.deepEqual(heard, ["v1", CART]);
    r.clock.advance(10_000);
    assert.equal(heard.length, 2);
  });

  it("tells at once what is known already", () => {
    const r = rig();
    r.client.start();
    r.documents.service(CART);
    r.cart();
    const heard: unknown[] = [];
    r.documents.whenService(CART, 3_000, (s) => heard.push(s?.version));
    assert.deepEqual(heard, ["v1"]);
  });

  it("tells null when the operator says that there is none", () => {
    const r = rig();
    r.client.start();
    const heard: unknown[] = [];
    r.documents.whenService(CART, 3_000, (s) => heard.push(s));
    r.operator.say(removed(CART, 1));
    assert.deepEqual(heard, [null]);
  });

  it("tells undefined after the wait, with and without a connection, and to nobody who has cancelled", () => {
    const r = rig();
    const heard: unknown[] = [];
    const cancel = r.documents.whenService(CART, 3_000, () => heard.push("cancelled"));
    r.documents.whenService(CART, 3_000, (s) => heard.push(s));
    cancel();
    r.clock.advance(2_999);
    assert.deepEqual(heard, []);
    r.clock.advance(1);
    assert.deepEqual(heard, [undefined]);
    assert.equal(r.clock.pending, 0);
  });

  it("serves an idle service from memory when the operator, though connected, says nothing within the wait", () => {
    const r = rig();
    r.documents.start();
    r.client.start();
    r.documents.service(CART);
    r.cart();
    r.clock.advance(600_000);
    const heard: unknown[] = [];
    r.documents.whenService(CART, 3_000, (s) => heard.push(s?.version));
    assert.deepEqual(heard, []);
    r.clock.advance(3_000);
    assert.deepEqual(heard, ["v1"]);
  });

  it("tells listeners of services, endpoints and the workload, until they have enough", () => {
    const r = rig();
    const heard: string[] = [];
    const stops = [
      r.documents.onService((key, s) => heard.push(`${key} ${s?.version}`)),
      r.documents.onEndpoints((key, e) => heard.push(`${key} ${e.version}`)),
      r.documents.onWorkload((w) => heard.push(w.pod)),
    ];
    r.client.start();
    r.documents.service(CART);
    r.operator.say(told(workload()));
    r.cart();
    for (const stop of stops) stop();
    r.operator.say(removed(CART, 99));
    assert.deepEqual(heard, ["web-1", `${CART_ENDPOINTS} v1`, `${CART} v1`]);
  });

  it("lists its documents by version and state", () => {
    const r = rig();
    r.client.start();
    r.documents.service(CART);
    r.documents.service("service/shop/none/80");
    r.cart();
    r.operator.say(removed("service/shop/none/80", 3));
    assert.deepEqual(
      r.documents.describe().map((d) => `${d.key} ${d.version}@${d.resourceVersion} ${d.state}`),
      [
        "trust @0 requested",
        `${WORKLOAD} @0 requested`,
        `${CART} v1@10 applied`,
        "service/shop/none/80 @3 absent",
        `${CART_ENDPOINTS} v1@10 applied`,
      ],
    );
  });

  it("counts what it holds and what it applied or refused", () => {
    const r = rig();
    r.client.start();
    r.documents.service(CART);
    r.cart();
    r.operator.say(told(service("cart", { version: "v0", rv: 1 })));
    const text = [...exposition(r.registry.collect())].join("");
    assert.match(text, /^weft_discovery_documents\{kind="service"\} 1$/m);
    assert.match(text, /^weft_discovery_applied_total\{kind="endpoints",outcome="applied"\} 1$/m);
    assert.match(text, /^weft_discovery_applied_total\{kind="service",outcome="WEFT_STALE_DOCUMENT"\} 1$/m);
    assert.match(text, /^weft_discovery_connected 1$/m);
  });
});

describe("the last-good file", () => {
  it("lets a restarted proxy serve without an operator, and offers what it holds when there is one", async () => {
    const before = rig();
    before.documents.start();
    before.client.start();
    before.documents.service(CART);
    before.operator.say(told(workload()));
    before.cart();
    await before.documents.close();
    const after = rig();
    assert.equal(after.documents.start(), 3);
    assert.equal(after.documents.service(CART)?.version, "v1");
    assert.equal(after.documents.endpoints(CART_ENDPOINTS)?.list.length, 1);
    assert.equal(after.documents.workload()?.pod, "web-1");
    after.client.start();
    assert.deepEqual(after.operator.sent(), ["hello web-1", `subscribe trust ${WORKLOAD}=v1@1 ${CART}=v1@10 ${CART_ENDPOINTS}=v1@10`]);
  });

  it("is written a second after the first of several changes, readable by the owner alone", async () => {
    const r = rig();
    r.client.start();
    r.operator.say(told(workload()));
    r.clock.advance(999);
    assert.equal(readdirSync(stateDir).join(), "");
    r.clock.advance(1);
    await r.documents.close();
    assert.equal(readdirSync(stateDir).join(), "last-good");
    assert.equal(statSync(join(stateDir, "last-good")).mode & 0o777, 0o600);
  });

  const spoilt: { name: string; spoil: (path: string, content: Buffer) => void }[] = [
    { name: "cut off", spoil: (path, content) => writeFileSync(path, content.subarray(0, content.length - 1)) },
    { name: "empty", spoil: (path) => writeFileSync(path, "") },
    { name: "of another format", spoil: (path, content) => writeFileSync(path, content.toString("latin1").replace("v1", "v2"), "latin1") },
    { name: "with a bit turned over", spoil: (path, content) => writeFileSync(path, content.with(40, content[40]! ^ 1)) },
    { name: "that others may write", spoil: (path) => chmodSync(path, 0o622) },
  ];
  it.each(spoilt)("is passed over when it is $name", async ({ spoil }) => {
    const before = rig();
    before.client.start();
    before.operator.say(told(workload()));
    await before.documents.close();
    const path = join(stateDir, "last-good");
    spoil(path, readFileSync(path));
    const after = rig();
    assert.equal(after.documents.start(), 0);
    assert.equal(after.documents.workload(), null);
  });

  it("that cannot be written harms nothing and is told", async () => {
    const r = rig({ stateDir: join(stateDir, "absent") });
    r.client.start();
    r.operator.say(told(workload()));
    await r.documents.close();
    assert.equal(r.failures.length, 1);
  });

  it("never makes its reader throw, whatever stands in it", () => {
    const whole = Buffer.concat(encodeLastGood([new Uint8Array([1, 2, 3, 4]), new Uint8Array(0)]));
    for (let i = 0; i < whole.length; i++) {
      decodeLastGood(whole.subarray(0, i));
      decodeLastGood(Buffer.from(whole.with(i, whole[i]! ^ 0xff)));
    }
    assert.deepEqual(decodeLastGood(whole), []);
  });
});

describe("the discovery client", () => {
  it("waits for an identity before it opens a stream", () => {
    const r = rig();
    r.identity.held = null;
    r.client.start();
    assert.equal(r.operator.streams.length, 0);
    r.identity.held = { bundleVersion: "b1" };
    r.identity.changed();
    assert.deepEqual(r.operator.sent(), ["hello web-1", `subscribe trust ${WORKLOAD}`]);
  });

  it("counts as connected from the operator's first word", () => {
    const r = rig();
    r.client.start();
    assert.equal(r.client.connected, false);
    r.operator.say(current("trust", ""));
    assert.equal(r.client.connected, true);
    r.operator.end();
    assert.equal(r.client.connected, false);
  });

  it("sends what is asked for in one turn in one message", async () => {
    const r = rig();
    r.client.start();
    r.operator.sent();
    r.documents.service(CART);
    r.documents.service("service/shop/web/80");
    await turn();
    assert.deepEqual(r.operator.sent(), [`subscribe ${CART} service/shop/web/80`]);
  });

  it("waits 100 ms after a loss, then ever longer, but never more than a second", () => {
    const r = rig();
    r.client.start();
    const waits: number[] = [];
    for (let i = 0; i < 7; i++) {
      r.operator.end();
      const streams = r.operator.streams.length;
      let waited = 0;
      while (r.operator.streams.length === streams) {
        r.clock.advance(50);
        waited += 50;
      }
      waits.push(waited);
    }
    assert.deepEqual(waits, [100, 200, 400, 800, 1000, 1000, 1000]);
  });

  it("begins anew with 100 ms after a stream that lived", () => {
    const r = rig();
    r.client.start();
    for (let i = 0; i < 6; i++) {
      r.operator.end();
      r.clock.advance(1_000);
    }
    r.operator.say(told(workload()));
    r.clock.advance(10_000);
    r.operator.end();
    r.clock.advance(100);
    assert.equal(r.operator.streams.length, 8);
  });

  it("gives up an attempt that is not answered within 5 s", () => {
    const r = rig();
    r.client.start();
    r.clock.advance(5_000);
    assert.equal(r.operator.streams[0]!.closedByUs, true);
    assert.deepEqual(r.reasons, ["the operator did not answer within 5 s"]);
    r.clock.advance(100);
    assert.equal(r.operator.streams.length, 2);
  });

  it("tries again when a stream cannot even be opened", () => {
    const r = rig();
    r.operator.failure = new Error("no route");
    r.client.start();
    r.operator.failure = null;
    r.clock.advance(100);
    assert.equal(r.operator.streams.length, 1);
    assert.deepEqual(r.reasons, ["no route"]);
  });

  it("opens another stream within half a second of a Goodbye, and serves meanwhile", () => {
    const r = rig();
    r.client.start();
    r.documents.service(CART);
    r.cart();
    r.operator.say(goodbye());
    assert.equal(r.documents.service(CART)?.version, "v1");
    r.clock.advance(500);
    assert.equal(r.operator.streams.length, 2);
    assert.equal(r.operator.streams[0]!.closedByUs, true);
    assert.deepEqual(r.operator.sent(), ["hello web-1", `subscribe trust ${WORKLOAD} ${CART}=v1@10 ${CART_ENDPOINTS}=v1@10`]);
  });

  it("opens another stream when the bundle changed, and none when only the leaf did", () => {
    const r = rig();
    r.client.start();
    r.operator.say(told(workload()));
    r.identity.changed();
    r.clock.advance(1_000);
    assert.equal(r.operator.streams.length, 1);
    r.identity.held = { bundleVersion: "b2" };
    r.identity.changed();
    r.clock.advance(500);
    assert.equal(r.operator.streams.length, 2);
  });

  it("does not wait out its backoff when it gets another identity", () => {
    const r = rig();
    r.client.start();
    r.operator.end();
    r.identity.changed();
    assert.equal(r.operator.streams.length, 2);
    r.clock.advance(1_000);
    assert.equal(r.operator.streams.length, 2);
  });

  it("hears nothing from a stream that it has left", () => {
    const r = rig();
    r.client.start();
    const old = r.operator.streams[0]!;
    r.clock.advance(5_100);
    old.events.onMessage(told(workload()));
    old.events.onClosed("late");
    assert.equal(r.documents.workload(), null);
    assert.equal(r.operator.streams.length, 2);
  });

  it("leaves no timer and no stream behind when closed", async () => {
    const r = rig();
    r.documents.start();
    r.client.start();
    r.operator.say(told(workload()));
    r.client.close();
    await r.documents.close();
    assert.equal(r.clock.pending, 0);
    assert.equal(r.operator.streams[0]!.closedByUs, true);
  });
});

describe("the wait before a further attempt", () => {
  it("is moved by jitter between a half and the whole", () => {
    assert.deepEqual([backoffMs(1, 0), backoffMs(1, 1), backoffMs(50, 0), backoffMs(50, 1)], [50, 100, 500, 1000]);
  });
});
