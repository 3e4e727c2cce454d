import assert from "node:assert/strict";
import { LoadBalancer } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import type { LiveService } from "./services.ts";
import { ENDPOINTS, KEY, Services } from "./test-services.ts";
import { closeAll } from "./test-sockets.ts";

afterEach(closeAll);

const A = { address: "10.0.0.1", port: 8080 };
const B = { address: "10.0.0.2", port: 8080 };
const live = (s: Services): LiveService => s.table.get(KEY) as LiveService;
const cluster = (name: string, more: object = {}): object => ({
  name,
  endpoints: ENDPOINTS,
  loadBalancer: LoadBalancer.ROUND_ROBIN,
  connectTimeoutMs: 1_000,
  idleTimeoutMs: 60_000,
  ...more,
});

describe("the table of services", () => {
  it("knows a service once its documents are in force, and tells absent from unknown", () => {
    const s = new Services();
    const unknown = s.table.get(KEY);
    s.documents.service();
    s.documents.endpoints(A, B);
    const names = live(s).clusters[0]?.endpoints.map((e) => e.name);
    s.documents.gone();
    assert.deepEqual([unknown, names, s.table.get(KEY)], [undefined, ["10.0.0.1:8080", "10.0.0.2:8080"], null]);
  });

  it("keeps director, pickers, budget, split points and endpoints over a new version", () => {
    const s = new Services();
    s.documents.endpoints(A, B);
    s.documents.service({ routes: [{ name: "r", backends: [{ cluster: 0, weight: 1 }] }] });
    const old = live(s);
    const { splits, budget } = old.director.service;
    for (let i = 0; i < 30; i++) budget.withdraw(0);
    const balances = budget.state();
    s.documents.service({ routes: [{ name: "renamed", backends: [{ cluster: 0, weight: 2 }] }] });
    const now = live(s);
    assert.equal(now.director, old.director);
    assert.equal(now.clusters[0]?.picker, old.clusters[0]?.picker);
    assert.equal(now.director.service.splits[0], splits[0]);
    assert.equal(now.clusters[0]?.endpoints[0], old.clusters[0]?.endpoints[0]);
    assert.deepEqual(now.director.service.budget.state(), balances);
  });

  it("makes a new picker when the algorithm changes", () => {
    const s = new Services();
    s.documents.service();
    const before = live(s).clusters[0]?.picker;
    s.documents.service({ clusters: [cluster("shop/app:80", { loadBalancer: LoadBalancer.PEAK_EWMA })] });
    assert.notEqual(live(s).clusters[0]?.picker, before);
  });

  it("keeps the load of an endpoint that stays, whatever else changes about it", () => {
    const s = new Services();
    s.documents.service();
    s.documents.endpoints(A, B);
    const [a] = live(s).clusters[0]!.endpoints;
    a!.load.inFlight = 3;
    s.documents.endpoints({ ...A, ready: false, zone: "z" });
    const [still, none] = live(s).clusters[0]!.endpoints;
    assert.deepEqual([still === a, still?.load.inFlight, still?.ready, none], [true, 3, false, undefined]);
  });

  it("never lets connections to one identity serve another at the same address", () => {
    const s = new Services();
    s.documents.service();
    s.documents.endpoints({ ...A, spiffeId: "spiffe://td/ns/a/sa/one" });
    const [one] = live(s).clusters[0]!.endpoints;
    s.documents.endpoints({ ...A, spiffeId: "spiffe://td/ns/a/sa/two" });
    const [two] = live(s).clusters[0]!.endpoints;
    s.documents.endpoints(A);
    const [plain] = live(s).clusters[0]!.endpoints;
    assert.deepEqual(
      [one === two, two === plain, one?.spiffeId, two?.spiffeId, plain?.spiffeId],
      [false, false, "spiffe://td/ns/a/sa/one", "spiffe://td/ns/a/sa/two", ""],
    );
  });

  it("gives a subset its own endpoints, shared with the whole", () => {
    const s = new Services();
    s.documents.service({ clusters: [cluster("whole"), cluster("v1", { subset: "v1" })] });
    s.documents.endpoints({ ...A, subsets: ["v1"] }, B);
    const [whole, v1] = live(s).clusters;
    assert.deepEqual(
      [whole?.endpoints.length, v1?.endpoints.map((e) => e.name), v1?.endpoints[0] === whole?.endpoints[0]],
      [2, ["10.0.0.1:8080"], true],
    );
  });

  it("leaves those who still hold a service that is gone without endpoints, not with old ones", () => {
    const s = new Services();
    s.documents.service();
    s.documents.endpoints(A);
    const held = live(s);
    s.documents.gone();
    assert.deepEqual(held.director.service.clusters[0]?.endpoints, []);
  });

  it("takes a service up again that was forgotten", () => {
    const s = new Services();
    s.documents.service();
    s.documents.endpoints(A);
    s.documents.forget();
    const between = s.table.get(KEY);
    s.documents.service();
    assert.deepEqual([between, live(s).clusters[0]?.endpoints.length], [undefined, 1]);
  });
});
