import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { Pod, Service } from "#api/resources/kube.ts";
import { ManualClock } from "#testing/manual-clock.ts";
import { AddressPool } from "./addresses.ts";
import { Backoff } from "./backoff.ts";
import { nextSteps, type OwnedPod } from "./deployments.ts";
import { containerEnvironment, expand } from "./environment.ts";
import { acquire } from "./lock.ts";
import { LogFile } from "./log-file.ts";
import { withReachablePorts, withReachableTargets } from "./ports.ts";
import { slicesFor } from "./slices.ts";
import { ObjectStore } from "./store.ts";
import { TokenBook } from "./tokens.ts";
import { pathSteps } from "./yaml-file.ts";

const pod = (name: string, hash: string, ready = true, terminating = false): OwnedPod => ({ name, hash, ready, terminating });

describe("a Deployment's next steps", () => {
  const cases: readonly { name: string; replicas: number; pods: readonly OwnedPod[]; steps: readonly unknown[] }[] = [
    { name: "create what is missing, all at once", replicas: 2, pods: [], steps: [{ create: "d-0" }, { create: "d-1" }] },
    { name: "are none when all is well", replicas: 1, pods: [pod("d-0", "new")], steps: [] },
    {
      name: "remove the highest first when scaled down",
      replicas: 1,
      pods: [pod("d-0", "new"), pod("d-1", "new"), pod("d-2", "new")],
      steps: [{ terminate: "d-2" }, { terminate: "d-1" }],
    },
    {
      name: "remove what is not ready before what is",
      replicas: 1,
      pods: [pod("d-0", "new", false), pod("d-1", "new")],
      steps: [{ terminate: "d-0" }],
    },
    {
      name: "add one new pod before an old one goes",
      replicas: 2,
      pods: [pod("d-0", "old"), pod("d-1", "old")],
      steps: [{ create: "d-2" }],
    },
    { name: "wait for the new pod", replicas: 2, pods: [pod("d-0", "old"), pod("d-1", "old"), pod("d-2", "new", false)], steps: [] },
    {
      name: "let an old one go when the new one is ready",
      replicas: 2,
      pods: [pod("d-0", "old"), pod("d-1", "old"), pod("d-2", "new")],
      steps: [{ terminate: "d-1" }],
    },
    {
      name: "fill the gap next",
      replicas: 2,
      pods: [pod("d-0", "old"), pod("d-1", "old", false, true), pod("d-2", "new")],
      steps: [{ create: "d-3" }],
    },
    {
      name: "let an old pod that does not serve go at once",
      replicas: 1,
      pods: [pod("d-0", "old", false), pod("d-1", "new", false)],
      steps: [{ terminate: "d-0" }],
    },
    { name: "scale an old template down too", replicas: 0, pods: [pod("d-0", "old")], steps: [{ terminate: "d-0" }] },
  ];
  for (const { name, replicas, pods, steps } of cases) {
    it(name, () =>
      assert.deepEqual(
        nextSteps("d", replicas, "new", pods, () => false),
        steps,
      ),
    );
  }

  it("reach the wish from anywhere when each is carried out", () => {
    for (let seed = 0; seed < 64; seed++) {
      let pods = Array.from({ length: seed % 5 }, (_, i) => pod(`d-${i}`, (seed >> i) & 1 ? "old" : "new", ((seed >> (i + 2)) & 1) === 1));
      const replicas = seed % 4;
      for (let round = 0; round < 40; round++) {
        for (const step of nextSteps("d", replicas, "new", pods, () => false)) {
          if ("create" in step) pods.push(pod(step.create, "new", false));
          else pods = pods.filter((p) => p.name !== step.terminate);
        }
        pods = pods.map((p) => ({ ...p, ready: true }));
      }
      assert.deepEqual([pods.length, pods.every((p) => p.hash === "new")], [replicas, true], `seed ${seed}`);
    }
  });
});

const service = (ports: Service["spec"]["ports"], selector: Record<string, string> = { app: "web" }): Service => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name: "web-app", namespace: "shop" },
  spec: { selector, ports: ports ?? [] },
});

const webPod = (name: string, ready: boolean, port = 8080, deleting = false): Pod => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, namespace: "shop", labels: { app: "web" }, ...(deleting ? { deletionTimestamp: "2026-01-01T00:00:00Z" } : {}) },
  spec: { containers: [{ name: "c", ports: [{ name: "http", containerPort: port }] }] },
  status: { podIP: `127.77.0.${name.length}`, conditions: [{ type: "Ready", status: ready ? "True" : "False" }] },
});

describe("the slices of a Service", () => {
  const named = service([{ name: "http", port: 80, targetPort: "http" }]);

  it("tell ready, serving and terminating apart", () => {
    const [slice] = slicesFor(named, [webPod("a", true), webPod("bb", false), webPod("ccc", true, 8080, true)]);
    assert.deepEqual(
      slice?.endpoints?.map((e) => e.conditions),
      [
        { ready: true, serving: true, terminating: false },
        { ready: false, serving: false, terminating: false },
        { ready: false, serving: true, terminating: true },
      ],
    );
  });

  it("are split where a named port differs by pod, and at 100 endpoints", () => {
    const many = Array.from({ length: 101 }, (_, i) => webPod(`p${i}`, true));
    const slices = slicesFor(named, [...many, webPod("other", true, 9090)]);
    assert.deepEqual(
      slices.map((s) => [s.metadata.name, s.endpoints?.length, s.ports?.[0]?.port]),
      [
        ["web-app-weft-0", 100, 8080],
        ["web-app-weft-1", 1, 8080],
        ["web-app-weft-2", 1, 9090],
      ],
    );
  });

  it("are none without a selector: those are the user's own", () => {
    assert.deepEqual(slicesFor(service([{ port: 80 }], {}), [webPod("a", true)]), []);
  });
});

describe("low ports", () => {
  it("become port + 10000 in pods and target ports, while the Service keeps its own", () => {
    const [container] = withReachablePorts(webPod("a", true, 80)).spec.containers;
    assert.equal(container?.ports?.[0]?.containerPort, 10_080);
    const { ports } = withReachableTargets(service([{ port: 80 }, { port: 443, targetPort: 8443 }, { port: 81, targetPort: "http" }])).spec;
    assert.deepEqual(ports, [
      { port: 80, targetPort: 10_080 },
      { port: 443, targetPort: 8443 },
      { port: 81, targetPort: "http" },
    ]);
  });
});

describe("what an app is told", () => {
  const facts = {
    pod: "web-0",
    namespace: "shop",
    appAddress: "127.77.0.9",
    upstreams: [
      {
        service: service([
          { name: "http-api", port: 80 },
          { name: "b", port: 9000 },
        ]),
        address: "127.77.0.5",
      },
    ],
  };

  it("names the Services as Kubernetes does", () => {
    const env = containerEnvironment({ name: "c", ports: [{ containerPort: 80 }] }, facts, {
      PATH: "/bin",
      PORT: "1",
      WEFT_RUN_ID: "x",
      npm_config_a: "y",
    });
    assert.deepEqual(env, {
      PATH: "/bin",
      HOST: "127.77.0.9",
      PORT: "10080",
      POD_NAME: "web-0",
      POD_NAMESPACE: "shop",
      WEB_APP_SERVICE_HOST: "127.77.0.5",
      WEB_APP_SERVICE_PORT: "10080",
      WEB_APP_SERVICE_PORT_HTTP_API: "10080",
      WEB_APP_SERVICE_PORT_B: "9000",
    });
  });

  it("is overruled by the manifest, whose values may name others", () => {
    const env = containerEnvironment(
      {
        name: "c",
        env: [
          { name: "HOST", value: "0.0.0.0" },
          { name: "URL", value: "http://$(WEB_APP_SERVICE_HOST)/$(NONE)/$$(HOST)" },
        ],
      },
      facts,
      {},
    );
    assert.equal(env["HOST"], "0.0.0.0");
    assert.equal(env["URL"], "http://127.77.0.5/$(NONE)/$(HOST)");
    assert.equal(env["PORT"], undefined);
    assert.equal(expand("$(A)$(A)", { A: "$(A)" }), "$(A)$(A)");
  });
});

describe("addresses", () => {
  it("come from the range only, and what was given back is used last", () => {
    const pool = new AddressPool(1);
    assert.deepEqual([pool.cidr, pool.operator, pool.take()], ["127.77.16.0/20", "127.77.16.1", "127.77.16.2"]);
    pool.giveBack("127.77.16.2");
    assert.equal(pool.take(), "127.77.16.3");
    let last: string | null = null;
    for (let next = pool.take(); next !== null; next = pool.take()) last = next;
    assert.deepEqual([last, pool.free], ["127.77.16.2", 0]);
    assert.throws(() => new AddressPool(16));
  });

  it("are locked while the holder lives", async () => {
    const name = `test-${process.pid}`;
    const lock = await acquire(name);
    assert.equal(await acquire(name), null);
    lock?.release();
    const again = await acquire(name);
    assert.notEqual(again, null);
    again?.release();
  });
});

describe("the store", () => {
  const make = () => new ObjectStore(new ManualClock(), () => "uid");
  const policy = (spec: unknown, labels: Record<string, string> = {}) => ({
    apiVersion: "weft.dev/v1alpha1",
    kind: "TrafficPolicy",
    metadata: { name: "p", namespace: "shop", labels },
    spec,
  });

  it("counts generations by what the user wrote, and versions by every change", () => {
    const store = make();
    const seen: unknown[] = [];
    store.subscribe(({ type, object }) => seen.push([type, object.metadata.generation, object.metadata.resourceVersion]));
    store.apply(policy({ a: 1 }));
    store.apply(policy({ a: 1 }));
    store.setStatus({ kind: "TrafficPolicy", namespace: "shop", name: "p" }, { conditions: [] });
    store.apply(policy({ a: 1 }, { x: "y" }));
    store.apply(policy({ a: 2 }, { x: "y" }));
    store.remove("TrafficPolicy", "shop", "p");
    assert.deepEqual(seen, [
      ["applied", 1, "1"],
      ["applied", 1, "2"],
      ["applied", 1, "3"],
      ["applied", 2, "4"],
      ["deleted", 2, "5"],
    ]);
  });

  it("keeps status, uid and age over changes, and refuses a status for another object of the name", () => {
    const store = make();
    store.apply(policy({ a: 1 }));
    store.setStatus({ kind: "TrafficPolicy", namespace: "shop", name: "p", uid: "uid" }, { ok: true });
    const { metadata, status } = store.apply(policy({ a: 2 }));
    assert.deepEqual([metadata.uid, metadata.creationTimestamp, status], ["uid", "2026-01-01T00:00:00Z", { ok: true }]);
    assert.equal(store.setStatus({ kind: "TrafficPolicy", namespace: "shop", name: "p", uid: "other" }, {}), false);
    assert.equal(store.setStatus({ kind: "TrafficPolicy", namespace: "shop", name: "gone" }, {}), false);
  });
});

describe("tokens", () => {
  it("prove a pod until it is revoked, and a service account for ten minutes", () => {
    const clock = new ManualClock();
    let n = 0;
    const book = new TokenBook(clock, () => `t${n++}`);
    const who = { namespace: "shop", serviceAccount: "web", pod: "web-0", podUid: "u" };
    const token = book.forPod(who);
    const fetched = book.forServiceAccount("shop", "web");
    assert.deepEqual(book.review(token), who);
    assert.deepEqual(book.review(fetched ?? ""), { namespace: "shop", serviceAccount: "web", pod: "", podUid: "" });
    clock.advance(10 * 60_000);
    assert.deepEqual([book.review(fetched ?? ""), book.review(token), book.review("")], [null, who, null]);
    book.revokePod("u");
    assert.equal(book.review(token), null);
  });
});

describe("small rules", () => {
  it("wait 250 ms and double to 10 s, anew after 10 s of health", () => {
    const backoff = new Backoff();
    assert.deepEqual(
      [0, 0, 0, 0, 0, 0, 0, 9999, 10_000].map((up) => backoff.afterLifeOf(up)),
      [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000, 250],
    );
  });

  it("read both ways of writing a path", () => {
    assert.deepEqual(pathSteps('spec.a[0]["b.c/d"].e'), ["spec", "a", 0, "b.c/d", "e"]);
    assert.deepEqual(pathSteps("/spec/a/0/b.c~1d"), ["spec", "a", 0, "b.c/d"]);
  });

  it("keep a log within twice its bound", () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "weft-log-test-"));
    const file = path.join(folder, "a.log");
    const log = new LogFile(file, 100);
    for (let i = 0; i < 50; i++) log.write(Buffer.from(`line ${i}\n`));
    log.close();
    log.write(Buffer.from("late"));
    const sizes = [file, `${file}.1`].map((f) => fs.statSync(f).size <= 100);
    assert.deepEqual(
      [sizes, log.tail(2)],
      [
        [true, true],
        ["line 48", "line 49"],
      ],
    );
    fs.rmSync(folder, { recursive: true });
  });
});
