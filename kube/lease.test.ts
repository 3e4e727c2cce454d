import assert from "node:assert/strict";
import { ManualClock } from "#testing/manual-clock.ts";
import type { KubeClient } from "./client.ts";
import { Election } from "./lease.ts";
import { FakeApi, status } from "./test-fake-api.ts";
import { accessTo, clientOf, kubeMetrics, metric, quietLogger, until } from "./test-world.ts";

const LEASE = "/apis/coordination.k8s.io/v1/leases";

let fake: FakeApi;
let clock: ManualClock;
let client: KubeClient;
const metrics = kubeMetrics();
beforeEach(async () => {
  fake = await FakeApi.start();
  clock = new ManualClock();
  client = clientOf(accessTo(fake.url), clock);
});
afterEach(async () => {
  client.close();
  await fake.close();
});

function candidate(identity: string, told: string[] = [], onLeading?: (leading: boolean) => void): Election {
  const say = (leading: boolean): void => void told.push(`${identity} ${leading ? "leads" : "follows"}`);
  const deps = { client, namespace: "weft-system", name: "operator", identity, clock, random: () => 0, logger: quietLogger(), metrics };
  return new Election({ ...deps, onLeading: onLeading ?? say });
}

const holder = () => (fake.list(LEASE)[0] as { spec?: { holderIdentity?: string } } | undefined)?.spec?.holderIdentity;

describe("an election by Lease", () => {
  it("renews while it leads, and ceases by itself ten seconds after the last renewal that was confirmed", async () => {
    const told: string[] = [];
    const me = candidate("me", told);
    me.start();
    await until("it leads", () => me.leads());
    assert.equal(await metric(metrics, "weft_kube_leader"), 1);
    const asked = fake.asked.length;
    clock.advance(2000);
    await until("it renewed", () => fake.asked.length === asked + 2);
    fake.faults.push(
      ...Array.from({ length: 9 }, () => ({
        match: /leases/,
        act: (_: unknown, response: Parameters<typeof status>[0]) => status(response, 503, "", ""),
      })),
    );
    for (let i = 0; i < 4; i++) {
      const before = fake.asked.length;
      clock.advance(2000);
      await until("it tried", () => fake.asked.length > before);
    }
    clock.advance(2000);
    assert.deepEqual([me.leads(), told], [false, ["me leads", "me follows"]]);
    fake.faults.length = 0;
    await until("it leads again", () => {
      clock.advance(500);
      return me.leads();
    });
    await me.stop();
  });

  it("gives the lease up when stopped, so that the next need not wait", async () => {
    const told: string[] = [];
    const [a, b] = [candidate("a", told), candidate("b", told)];
    a.start();
    await until("a leads", () => a.leads());
    await a.stop();
    assert.deepEqual([holder(), a.leads()], ["", false]);
    b.start();
    await until("b leads", () => b.leads());
    await b.stop();
    assert.deepEqual(told, ["a leads", "a follows", "b leads", "b follows"]);
  });

  it("does not lead while its request is answered too late", async () => {
    const me = candidate("me");
    let answerLate = (): void => {};
    fake.faults.push({
      match: /^POST .*leases/,
      act: (_request, response) => {
        answerLate = () => status(response, 500, "", "");
      },
    });
    me.start();
    await until("it asked", () => fake.asked.length === 2);
    clock.advance(4000);
    assert.equal(me.leads(), false);
    answerLate();
    await me.stop();
  });

  it("goes on when what follows it throws", async () => {
    const me = candidate("me", [], () => {
      throw new Error("boom");
    });
    me.start();
    await until("it leads", () => me.leads());
    await me.stop();
    assert.equal(me.leads(), false);
  });

  it("leaves no timer and no request behind", async () => {
    const me = candidate("me");
    me.start();
    me.start();
    await until("it leads", () => me.leads());
    await me.stop();
    await me.stop();
    assert.equal(clock.pending, 0);
  });
});
