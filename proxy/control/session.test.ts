import assert from "node:assert/strict";
import { fromBinary } from "@bufbuild/protobuf";
import { DocumentSchema, MtlsMode, Protocol } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { compileService } from "#mesh/decide/compile.ts";
import { DiscoverySession, IDLE_SERVICES_MAX, IDLE_TICKS } from "./session.ts";
import {
  CART,
  CART_ENDPOINTS,
  current,
  document,
  endpoints,
  lineOf,
  removed,
  service,
  told,
  trust,
  WEB_ID,
  WORKLOAD,
  workload,
} from "./testdata/wire.ts";

const ROOT = new Uint8Array([1]);

/** A session whose effects and requests are lines of one transcript. */
function rig() {
  const lines: string[] = [];
  const session = new DiscoverySession(
    {
      pod: "web-1",
      proxyVersion: "test",
      workloadKey: WORKLOAD,
      features: new Set(["routes"]),
      trustDomain: "cluster.local",
      spiffeId: WEB_ID,
      rootsReadable: (roots) => roots.every((root) => root[0] === 1),
      compile: (value) => {
        if (value.policy === "boom") throw new Error("cannot be compiled");
        return compileService(value);
      },
    },
    {
      onWorkload: () => lines.push("> workload"),
      onTrust: () => lines.push("> trust"),
      onService: (key, snapshot) => lines.push(`> ${key} ${snapshot === null ? "none" : snapshot.version}`),
      onEndpoints: (key, set) => lines.push(`> ${key} ${set.version} ${set.list.map((e) => e.address).join()}`),
      onForgotten: (key) => lines.push(`> forgotten ${key}`),
      onOutcome: () => {},
      onDirty: () => {},
      onRequests: () => {},
    },
  );
  return {
    session,
    /** What happened since the last call: effects (>) as they came, then the requests. */
    transcript: (): string[] => [...lines.splice(0), ...session.takeRequests().map(lineOf)],
    say: (...responses: Parameters<typeof session.receive>[0][]) => {
      for (const response of responses) session.receive(response);
    },
  };
}

/** A connected session on which the service cart is in force with one endpoint, v1 at resource version 10. */
function withCart() {
  const r = rig();
  r.session.opened();
  r.session.service(CART);
  r.say(told(service("cart", { rv: 10 })), told(endpoints("cart", ["10.0.0.1"], { rv: 10 })));
  r.transcript();
  return r;
}

describe("a discovery session", () => {
  it("says hello, asks for trust and its workload, and acks what it put in force", () => {
    const r = rig();
    r.session.opened();
    assert.deepEqual(r.transcript(), ["hello web-1", `subscribe trust ${WORKLOAD}`]);
    r.say(told(trust([ROOT])), told(workload()));
    assert.deepEqual(r.transcript(), ["> trust", "> workload", "ack trust v1", `ack ${WORKLOAD} v1`]);
    assert.equal(r.session.workload()?.spiffeId, WEB_ID);
    assert.deepEqual(r.session.trust()?.roots, [ROOT]);
  });

  it("asks for a service on first use, and for several in one message", () => {
    const r = rig();
    r.session.opened();
    r.transcript();
    assert.equal(r.session.service(CART), undefined);
    assert.equal(r.session.service("service/shop/web/80"), undefined);
    assert.equal(r.session.service(CART), undefined);
    assert.deepEqual(r.transcript(), [`subscribe ${CART} service/shop/web/80`]);
  });

  it("puts a service in force, and acks it, only when all endpoints that it names are there", () => {
    const r = rig();
    r.session.opened();
    r.session.service(CART);
    r.transcript();
    r.say(told(service("cart", {}, [CART_ENDPOINTS, "endpoints/shop/cart-v2/80"])));
    assert.deepEqual(r.transcript(), [`subscribe ${CART_ENDPOINTS} endpoints/shop/cart-v2/80`]);
    r.say(told(endpoints("cart", ["10.0.0.1"])));
    assert.deepEqual(r.transcript(), [`> ${CART_ENDPOINTS} v1 10.0.0.1`, `ack ${CART_ENDPOINTS} v1`]);
    assert.equal(r.session.service(CART), undefined);
    r.say(told(endpoints("cart-v2", ["10.0.0.2"])));
    assert.deepEqual(r.transcript(), [
      "> endpoints/shop/cart-v2/80 v1 10.0.0.2",
      `> ${CART} v1`,
      "ack endpoints/shop/cart-v2/80 v1",
      `ack ${CART} v1`,
    ]);
    assert.equal(r.session.service(CART)?.version, "v1");
  });

  it("keeps the old service in force while a new version waits for endpoints", () => {
    const r = withCart();
    r.say(told(service("cart", { version: "v2", rv: 11 }, [CART_ENDPOINTS, "endpoints/shop/other/80"])));
    assert.equal(r.session.service(CART)?.version, "v1");
    r.say(told(endpoints("other", [], { rv: 11 })));
    assert.equal(r.session.service(CART)?.version, "v2");
  });

  it("drops endpoints that no service names any more, after the service is in force without them", () => {
    const r = withCart();
    r.say(
      told(service("cart", { version: "v2", rv: 11 }, ["endpoints/shop/other/80"])),
      told(endpoints("other", ["10.0.0.9"], { rv: 11 })),
    );
    assert.deepEqual(r.transcript(), [
      "> endpoints/shop/other/80 v1 10.0.0.9",
      `> ${CART} v2`,
      `> forgotten ${CART_ENDPOINTS}`,
      "subscribe endpoints/shop/other/80",
      "ack endpoints/shop/other/80 v1",
      `unsubscribe ${CART_ENDPOINTS}`,
      `ack ${CART} v2`,
    ]);
  });

  it("keeps endpoints that another service still names", () => {
    const r = withCart();
    r.session.service("service/shop/web/80");
    r.say(told(service("web", {}, [CART_ENDPOINTS])));
    assert.equal(r.session.service("service/shop/web/80")?.version, "v1");
    r.say(removed(CART, 12));
    assert.equal(r.session.endpoints(CART_ENDPOINTS)?.list.length, 1);
  });

  it("takes endpoints that do not exist for none, so that the service can be in force", () => {
    const r = rig();
    r.session.opened();
    r.session.service(CART);
    r.say(told(service("cart")), removed(CART_ENDPOINTS, 3));
    assert.equal(r.session.service(CART)?.version, "v1");
    assert.deepEqual(r.session.endpoints(CART_ENDPOINTS), { key: CART_ENDPOINTS, version: "", list: [] });
  });

  it("knows a service that does not exist from one that is not known yet", () => {
    const r = rig();
    r.session.opened();
    assert.equal(r.session.service(CART), undefined);
    r.say(removed(CART, 5));
    assert.equal(r.session.service(CART), null);
    assert.equal(r.session.service("service/Not a name/x/80"), null);
  });

  it("takes a service that comes after its removal on the same stream, whatever its number", () => {
    const r = rig();
    r.session.opened();
    r.session.service(CART);
    r.say(removed(CART, 50), told(service("cart", { rv: 40 })), told(endpoints("cart", [], { rv: 40 })));
    assert.equal(r.session.service(CART)?.version, "v1");
  });

  it("ignores what is about a key that it never asked for", () => {
    const r = rig();
    r.session.opened();
    r.transcript();
    r.say(told(service("cart")), removed(CART, 1), current(CART, "v1"), told(endpoints("cart", [])));
    assert.deepEqual(r.transcript(), []);
  });
});

describe("endpoints", () => {
  it("are seen only when the last of several slices is there", () => {
    const r = withCart();
    r.say(
      told(endpoints("cart", ["10.0.1.1"], { version: "v2", rv: 11 }, { more: true })),
      told(endpoints("cart", ["10.0.1.2"], { version: "v2", rv: 11 }, { more: true })),
    );
    assert.deepEqual(r.transcript(), []);
    assert.equal(r.session.endpoints(CART_ENDPOINTS)?.version, "v1");
    r.say(told(endpoints("cart", ["10.0.1.3"], { version: "v2", rv: 11 })));
    assert.deepEqual(r.transcript(), [`> ${CART_ENDPOINTS} v2 10.0.1.1,10.0.1.2,10.0.1.3`, `ack ${CART_ENDPOINTS} v2`]);
  });

  it("forget the slices of a version that a newer one overtakes", () => {
    const r = withCart();
    r.say(
      told(endpoints("cart", ["10.0.1.1"], { version: "v2", rv: 11 }, { more: true })),
      told(endpoints("cart", ["10.0.1.9"], { version: "v3", rv: 12 })),
    );
    assert.deepEqual(r.transcript(), [`> ${CART_ENDPOINTS} v3 10.0.1.9`, `ack ${CART_ENDPOINTS} v3`]);
  });

  it("that are nacked at one slice are nacked once, and the slices left are not taken for the whole", () => {
    const r = withCart();
    const slice = (address: string, more: boolean) => told(endpoints("cart", [address], { version: "v2", rv: 11 }, { more }));
    r.say(slice("10.0.1.1", true), slice("not-an-ip", true), slice("10.0.1.3", true), slice("10.0.1.4", false));
    assert.deepEqual(r.transcript(), [`nack ${CART_ENDPOINTS} v2 WEFT_BAD_DOCUMENT: endpoint not-an-ip:8080: not an IP address`]);
    assert.equal(r.session.endpoints(CART_ENDPOINTS)?.version, "v1");
    r.say(slice("10.0.1.1", true), slice("10.0.1.2", false));
    assert.deepEqual(r.transcript(), [`> ${CART_ENDPOINTS} v2 10.0.1.1,10.0.1.2`, `ack ${CART_ENDPOINTS} v2`]);
  });

  it("follow differences to the version held: added, replaced and removed", () => {
    const r = withCart();
    r.say(told(endpoints("cart", ["10.0.0.2", "10.0.0.3"], { version: "v2", rv: 11 }, { base: "v1" })));
    r.say(told(endpoints("cart", ["10.0.0.3"], { version: "v3", rv: 12 }, { base: "v2", removals: ["10.0.0.1:8080", "10.0.0.77:8080"] })));
    assert.deepEqual(
      r.session.endpoints(CART_ENDPOINTS)?.list.map((e) => e.address),
      ["10.0.0.2", "10.0.0.3"],
    );
  });

  it("never change a set that was handed out", () => {
    const r = withCart();
    const before = r.session.endpoints(CART_ENDPOINTS)!;
    r.say(told(endpoints("cart", ["10.0.0.2"], { version: "v2", rv: 11 }, { base: "v1", removals: ["10.0.0.1:8080"] })));
    assert.deepEqual(
      before.list.map((e) => e.address),
      ["10.0.0.1"],
    );
  });

  it("answer a difference to a version not held by nack and by asking for the whole, and pass over what was still on its way", () => {
    const r = withCart();
    r.say(told(endpoints("cart", ["10.0.0.2"], { version: "v9", rv: 19 }, { base: "v8" })));
    assert.deepEqual(r.transcript(), [
      `nack ${CART_ENDPOINTS} v9 WEFT_BAD_DOCUMENT: the difference is to v8, held is v1`,
      `unsubscribe ${CART_ENDPOINTS}`,
      `subscribe ${CART_ENDPOINTS}`,
    ]);
    r.say(told(endpoints("cart", ["10.0.0.3"], { version: "v10", rv: 20 }, { base: "v9" })));
    assert.deepEqual(r.transcript(), []);
    assert.equal(r.session.endpoints(CART_ENDPOINTS)?.version, "v1");
    r.say(told(endpoints("cart", ["10.0.0.2", "10.0.0.3"], { version: "v10", rv: 20 })));
    assert.deepEqual(r.transcript(), [`> ${CART_ENDPOINTS} v10 10.0.0.2,10.0.0.3`, `ack ${CART_ENDPOINTS} v10`]);
  });
});

describe("a version that cannot be put in force", () => {
  const bad = "WEFT_BAD_DOCUMENT";
  const rows: { name: string; say: Parameters<typeof told>[0]; code: string }[] = [
    {
      name: "a feature that we lack",
      say: service("cart", { version: "v2", rv: 11, requires: ["routes", "telepathy"] }),
      code: "WEFT_UNKNOWN_FEATURE: needs telepathy",
    },
    {
      name: "a lower resource version",
      say: service("cart", { version: "v0", rv: 9 }),
      code: "WEFT_STALE_DOCUMENT: resource version 9 is lower than 10",
    },
    { name: "no version", say: service("cart", { version: "", rv: 11 }), code: `${bad}: no usable key or version` },
    {
      name: "the body of another kind",
      say: document(CART, { case: "trust", value: { roots: [ROOT] } }, { version: "v2", rv: 11 }),
      code: `${bad}: the body is trust`,
    },
    { name: "no body", say: document(CART, { case: undefined }, { version: "v2", rv: 11 }), code: `${bad}: the body is missing` },
    {
      name: "the body of another Service",
      say: { ...service("web", { version: "v2", rv: 11 }), key: CART },
      code: `${bad}: the body is of another`,
    },
    { name: "no cluster", say: service("cart", { version: "v2", rv: 11 }, []), code: `${bad}: it has no cluster` },
    {
      name: "a cluster that refers to no endpoints",
      say: service("cart", { version: "v2", rv: 11 }, ["trust"]),
      code: `${bad}: cluster trust refers to trust`,
    },
    {
      name: "a protocol of the future",
      say: service("cart", { version: "v2", rv: 11 }, undefined, { protocol: 77 as Protocol }),
      code: `${bad}: protocol is unknown`,
    },
    {
      name: "a backend beyond the clusters",
      say: service("cart", { version: "v2", rv: 11 }, undefined, { routes: [{ name: "r", backends: [{ cluster: 3, weight: 1 }] }] }),
      code: `${bad}: route r`,
    },
    {
      name: "a fraction of zero",
      say: service("cart", { version: "v2", rv: 11 }, undefined, {
        routes: [{ name: "r", faults: { abort: { status: 503, fraction: {} } } }],
      }),
      code: `${bad}: route r divides`,
    },
    {
      name: "routes that do not compile",
      say: service("cart", { version: "v2", rv: 11 }, undefined, { policy: "boom" }),
      code: `${bad}: cannot be compiled`,
    },
    {
      name: "an endpoint that is a host name",
      say: endpoints("cart", ["example.com"], { version: "v2", rv: 11 }),
      code: `${bad}: endpoint example.com:8080: not an IP`,
    },
    { name: "an older set of endpoints", say: endpoints("cart", ["10.0.0.9"], { version: "v0", rv: 9 }), code: "WEFT_STALE_DOCUMENT" },
  ];
  it.each(rows)("because of $name is nacked, and the last good stays in force", ({ say, code }) => {
    const r = withCart();
    r.say(told(say));
    const answer = r.transcript();
    assert.equal(answer.length, 1, answer.join());
    assert.ok(answer[0]!.startsWith(`nack ${say.key} ${say.version} ${code}`), answer.join());
    assert.equal(r.session.service(CART)?.version, "v1");
    assert.deepEqual(
      r.session.endpoints(CART_ENDPOINTS)?.list.map((e) => e.address),
      ["10.0.0.1"],
    );
  });

  const endpointIds = ["spiffe://other/ns/shop/sa/cart", "cart", "spiffe://cluster.local"];
  it.each(endpointIds)("because an endpoint must show the id %s is nacked", (spiffeId) => {
    const r = withCart();
    const odd = endpoints("cart", ["10.0.0.2"], { version: "v2", rv: 11 });
    if (odd.body.case === "endpoints") odd.body.value.upserts[0]!.spiffeId = spiffeId;
    r.say(told(odd));
    assert.match(r.transcript().join(), /^nack endpoints.* WEFT_BAD_DOCUMENT: .* is no id of this trust domain$/);
  });

  const own: { name: string; say: Parameters<typeof told>[0] }[] = [
    { name: "a workload of another identity", say: workload({}, { spiffeId: "spiffe://cluster.local/ns/shop/sa/admin" }) },
    { name: "a workload of another pod", say: workload({}, { pod: "web-2" }) },
    { name: "a workload without a mode", say: workload({}, { mtlsMode: MtlsMode.UNSPECIFIED }) },
    {
      name: "a workload with a mode of the future on a port",
      say: workload({}, { ports: [{ port: 80, protocol: Protocol.HTTP, mtlsMode: 9 as MtlsMode }] }),
    },
    {
      name: "a workload with a port twice",
      say: workload({}, { ports: [1, 2].map(() => ({ port: 80, protocol: Protocol.TCP, mtlsMode: MtlsMode.STRICT })) }),
    },
    { name: "trust without roots", say: trust([]) },
    { name: "trust with a root that cannot be read", say: trust([ROOT, new Uint8Array([9])]) },
    { name: "trust of another domain", say: trust([ROOT], {}, "other") },
  ];
  it.each(own)("because it is $name is nacked", ({ say }) => {
    const r = rig();
    r.session.opened();
    r.transcript();
    r.say(told(say));
    assert.match(r.transcript().join(), new RegExp(`^nack ${say.key} v1 WEFT_BAD_DOCUMENT: `));
    assert.deepEqual([r.session.workload(), r.session.trust()], [null, null]);
  });
});

describe("a session over several streams", () => {
  it("keeps what it holds in between, and offers it by version", () => {
    const r = withCart();
    r.say(told(workload({ rv: 4 })));
    r.session.closed();
    assert.equal(r.session.service(CART)?.version, "v1");
    r.transcript();
    r.session.opened();
    assert.deepEqual(r.transcript(), ["hello web-1", `subscribe trust ${WORKLOAD}=v1@4 ${CART}=v1@10 ${CART_ENDPOINTS}=v1@10`]);
    r.say(current(CART, "v1"), current(CART_ENDPOINTS, "v1"));
    assert.deepEqual(r.transcript(), [`ack ${CART} v1`, `ack ${CART_ENDPOINTS} v1`]);
  });

  it("asks for the whole when the operator takes something else for current", () => {
    const r = withCart();
    r.say(current(CART, "v7"), current(CART, "v7"));
    assert.deepEqual(r.transcript(), [`unsubscribe ${CART}`, `subscribe ${CART}`]);
    assert.equal(r.session.service(CART)?.version, "v1");
  });

  it("drops slices and services that waited when the stream ends", () => {
    const r = withCart();
    r.say(
      told(service("cart", { version: "v2", rv: 11 }, ["endpoints/shop/other/80"])),
      told(endpoints("other", ["10.0.0.1"], {}, { more: true })),
    );
    r.session.closed();
    r.transcript();
    r.session.opened();
    assert.deepEqual(r.transcript(), ["hello web-1", `subscribe trust ${WORKLOAD} ${CART}=v1@10 ${CART_ENDPOINTS}=v1@10`]);
    r.say(told(endpoints("other", ["10.0.0.2"])));
    assert.deepEqual(r.transcript(), []);
  });

  it("does not go back to what a lagging replica sends", () => {
    const r = withCart();
    r.session.closed();
    r.session.opened();
    r.transcript();
    r.say(told(endpoints("cart", ["10.9.9.9"], { version: "old", rv: 9 })), removed(CART, 9));
    assert.match(r.transcript().join(), /^nack endpoints\S+ old WEFT_STALE_DOCUMENT/);
    assert.equal(r.session.service(CART)?.version, "v1");
  });

  it("does not bring back on another stream what was removed at a higher version", () => {
    const r = withCart();
    r.say(removed(CART, 50));
    r.session.closed();
    r.session.opened();
    r.say(told(service("cart", { rv: 10 })));
    assert.equal(r.session.service(CART), null);
  });

  it("keeps workload and trust when the pod is gone from the store: it serves to its end", () => {
    const r = rig();
    r.session.opened();
    r.say(told(trust([ROOT])), told(workload()), removed(WORKLOAD, 9), removed("trust", 9));
    assert.notEqual(r.session.workload(), null);
    assert.notEqual(r.session.trust(), null);
  });

  it("hears nothing before it is opened and after it is closed", () => {
    const r = rig();
    r.say(told(workload()));
    r.session.opened();
    r.session.closed();
    r.say(told(workload()));
    assert.equal(r.session.workload(), null);
  });
});

describe("idle services", () => {
  function idle(r: ReturnType<typeof withCart>, ticks = IDLE_TICKS): void {
    for (let i = 0; i < ticks; i++) r.session.tick();
  }

  it("are unsubscribed with their endpoints after ten minutes without use, and stay as last-good", () => {
    const r = withCart();
    idle(r, IDLE_TICKS - 1);
    assert.deepEqual(r.transcript(), []);
    idle(r, 1);
    assert.deepEqual(r.transcript(), [`unsubscribe ${CART} ${CART_ENDPOINTS}`]);
    r.session.closed();
    assert.equal(r.session.service(CART)?.version, "v1");
  });

  it("stay subscribed while they are used", () => {
    const r = withCart();
    for (let i = 0; i < 3 * IDLE_TICKS; i++) {
      r.session.service(CART);
      r.session.tick();
    }
    assert.deepEqual(r.transcript(), []);
  });

  it("stay subscribed while the operator is gone", () => {
    const r = withCart();
    r.session.closed();
    idle(r, 3 * IDLE_TICKS);
    r.session.opened();
    assert.match(r.transcript().join(), new RegExp(`${CART}=v1@10`));
  });

  it("are not served from memory on their next use until the operator has confirmed them", () => {
    const r = withCart();
    idle(r);
    r.transcript();
    assert.equal(r.session.service(CART), undefined);
    assert.deepEqual(r.transcript(), [`subscribe ${CART_ENDPOINTS}=v1@10 ${CART}=v1@10`]);
    r.say(current(CART_ENDPOINTS, "v1"), current(CART, "v1"));
    assert.equal(r.session.service(CART)?.version, "v1");
    assert.match(r.transcript().join(), new RegExp(`> ${CART} v1`));
  });

  it("are served from memory after all when the operator stays silent or goes", () => {
    const silent = withCart();
    idle(silent);
    silent.session.service(CART);
    silent.session.giveUpWaiting(CART);
    assert.equal(silent.session.service(CART)?.version, "v1");
    const gone = withCart();
    idle(gone);
    gone.session.service(CART);
    gone.session.closed();
    assert.equal(gone.session.service(CART)?.version, "v1");
  });

  it("that do not exist are asked for anew on their next use", () => {
    const r = rig();
    r.session.opened();
    r.session.service(CART);
    r.say(removed(CART, 1));
    idle(r);
    assert.equal(r.session.service(CART), undefined);
  });

  it("are forgotten, the longest idle first, beyond a thousand", () => {
    const r = rig();
    r.session.opened();
    for (let i = 0; i <= IDLE_SERVICES_MAX; i++) {
      r.session.service(`service/shop/s${i}/80`);
      r.say(told(service(`s${i}`)), told(endpoints(`s${i}`, [])));
    }
    r.transcript();
    idle(r);
    assert.deepEqual(
      r.transcript().filter((line) => line.startsWith(">")),
      ["> forgotten endpoints/shop/s0/80", "> forgotten service/shop/s0/80"],
    );
  });
});

describe("last-good documents", () => {
  it("bring a new session to where the old one was, without an operator", () => {
    const r = withCart();
    r.say(told(trust([ROOT])), told(workload()), told(endpoints("cart", ["10.0.0.2"], { version: "v2", rv: 11 }, { base: "v1" })));
    const after = rig();
    after.session.load(r.session.lastGood().map((bytes) => fromBinary(DocumentSchema, bytes)));
    assert.equal(after.session.service(CART)?.version, "v1");
    assert.deepEqual(
      after.session.endpoints(CART_ENDPOINTS)?.list.map((e) => e.address),
      ["10.0.0.1", "10.0.0.2"],
    );
    assert.equal(after.session.workload()?.pod, "web-1");
    assert.deepEqual(after.transcript(), ["> workload", `> ${CART_ENDPOINTS} v2 10.0.0.1,10.0.0.2`, `> ${CART} v1`]);
    after.session.opened();
    assert.deepEqual(after.transcript(), ["hello web-1", `subscribe trust=v1@1 ${WORKLOAD}=v1@1 ${CART}=v1@10 ${CART_ENDPOINTS}=v2@11`]);
    after.say(current("trust", "v1"));
    assert.deepEqual(after.transcript(), ["> trust", "ack trust v1"]);
  });

  it("are left out when they are another pod's, need what we lack, or lack their endpoints", () => {
    const r = rig();
    r.session.load([
      workload({}, { pod: "web-2" }),
      service("cart"),
      { ...service("web", { requires: ["telepathy"] }) },
      endpoints("web", []),
    ]);
    assert.deepEqual(r.transcript(), []);
    assert.equal(r.session.workload(), null);
  });

  it("are encoded once a version", () => {
    const r = withCart();
    const [first] = r.session.lastGood();
    assert.equal(r.session.lastGood()[0], first);
  });
});
