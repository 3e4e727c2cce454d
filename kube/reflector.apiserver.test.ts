import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { KubeObject } from "#api/resources/kube.ts";
import { SystemClock } from "#runtime/clock.ts";
import type { KubeClient } from "./client.ts";
import { record, text } from "./kube-error.ts";
import { Reflector, type ReflectorHandlers } from "./reflector.ts";
import { CONFIG_MAPS } from "./resource.ts";
import { startTestServer, type TestServer } from "./test-server.ts";
import { clientOf, contentOf, kubeMetrics, Listener, metric, quietLogger, until } from "./test-world.ts";

/** What is wrong with the informer of @kubernetes/client-node 2.0.1, one test each, on a real API server. */

const NAMESPACE = "reflect";
const PATH = `/api/v1/namespaces/${NAMESPACE}/configmaps`;

let test: TestServer;
let client: KubeClient;
let listener: Listener;
const running: Reflector[] = [];
let made = 0;

beforeAll(async () => {
  test = await startTestServer([NAMESPACE]);
});
afterAll(async () => {
  await test?.stop();
});
beforeEach(() => {
  client = clientOf(test.through);
  listener = new Listener();
});
afterEach(async () => {
  for (const reflector of running.splice(0)) reflector.stop();
  client.close();
  await until("no connection is left", () => test.relay.connections === 0);
});

function reflect(handlers: ReflectorHandlers = listener, by = client) {
  const metrics = kubeMetrics();
  const deps = { client: by, resource: CONFIG_MAPS, namespace: NAMESPACE, handlers, clock: new SystemClock(), random: () => 0.1 };
  const reflector = new Reflector({ ...deps, logger: quietLogger(), metrics });
  running.push(reflector);
  return { reflector, metrics };
}

async function create(): Promise<string> {
  const name = `object-${made++}`;
  await test.client.request({ method: "POST", path: PATH, body: { metadata: { name } } });
  return name;
}

const converges = () =>
  until("the copy equals a fresh list", async () => {
    const { body } = await test.client.request({ method: "GET", path: PATH });
    return JSON.stringify(contentOf((body as { items: KubeObject[] }).items)) === JSON.stringify(listener.content());
  });

/** Watches of the namespace that the server has begun, by its own audit log. */
const watches = () => test.server.audit().filter((line) => line.includes(`${PATH}?`) && line.includes('"verb":"watch"')).length;

describe("a reflector of a real API server", () => {
  it("1: lives when a handler throws, counts it, and tells again", async () => {
    let failures = 0;
    const fails = (): void => {
      if (failures++ < 3) throw new Error("boom");
    };
    const { reflector, metrics } = reflect({
      onSync: (objects) => {
        fails();
        listener.onSync(objects);
      },
      onChange: (change) => {
        fails();
        listener.onChange(change);
      },
      onConnected: () => {},
    });
    reflector.start();
    await create();
    await create();
    await converges();
    assert.equal(await metric(metrics, 'weft_kube_handler_errors_total{resource="configmaps"}'), 3);
  });

  it("2: goes on after resets, however many, and within an event", async () => {
    const { reflector } = reflect();
    reflector.start();
    await until("synced", () => reflector.isSynced());
    for (let i = 0; i < 8; i++) {
      const creating = create();
      test.relay.kill();
      await creating;
      await converges();
    }
    assert.equal(listener.syncs, 1);
  });

  it("2: goes on when its token is refused and later replaced", async () => {
    const folder = mkdtempSync(join(tmpdir(), "weft-token-"));
    try {
      const file = join(folder, "token");
      const { credential } = test.access;
      const good = credential.kind === "token" ? credential.token : "";
      writeFileSync(file, good);
      const rotating = clientOf({ ...test.through, credential: { kind: "tokenFile", file } });
      const { reflector } = reflect(listener, rotating);
      reflector.start();
      await converges();
      writeFileSync(file, "expired");
      await create();
      test.relay.kill();
      // What it has read is used until it is refused or a minute old: another client would be refused now.
      const fresh = clientOf({ ...test.access, credential: { kind: "tokenFile", file } });
      await assert.rejects(fresh.request({ method: "GET", path: PATH }), { status: 401 });
      fresh.close();
      writeFileSync(file, `${good}\n`);
      await converges();
      rotating.close();
      reflector.stop();
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it("3: opens no watch when it was stopped while the list was under way", async () => {
    const before = watches();
    const { reflector } = reflect();
    reflector.start();
    await until("it asks", () => test.relay.connections > 0);
    reflector.stop();
    client.close();
    await until("no connection is left", () => test.relay.connections === 0);
    // Something else that the log has for certain, so that it is not merely late.
    await create();
    await until("the log is up to date", () =>
      test.server.audit().some((line) => line.includes(`object-${made - 1}`) || line.includes('"verb":"create"')),
    );
    assert.equal(watches(), before);
  });

  it("4: has one watch, however often it is started", async () => {
    const { reflector } = reflect();
    for (let i = 0; i < 5; i++) reflector.start();
    await converges();
    await create();
    await converges();
    assert.equal(test.relay.connections <= 2, true, `${test.relay.connections} connections`);
    assert.equal(listener.told.filter((one) => one.includes(`object-${made - 1}`)).length, 1);
  });

  it("5: has every page", async () => {
    for (let i = 0; i < 520; i += 20) await Promise.all(Array.from({ length: 20 }, create));
    const { reflector, metrics } = reflect();
    reflector.start();
    await converges();
    assert.ok(listener.held.size > 500);
    assert.ok((await metric(metrics, 'weft_kube_lists_total{resource="configmaps",outcome="ok"}')) >= 2);
  });

  it("goes on from where it was after the server forgot that: 410 and a new list", async () => {
    const { reflector, metrics } = reflect();
    reflector.start();
    await converges();
    test.relay.cut();
    // Two: the newest revision itself outlives a compaction.
    await create();
    await create();
    await test.server.compact();
    test.relay.restore();
    await converges();
    assert.ok((await metric(metrics, 'weft_kube_watches_total{resource="configmaps",outcome="expired"}')) >= 1);
  });

  it("goes on after a half-open connection, at the latest when a bookmark should have come", async () => {
    // Only that nothing breaks meanwhile: the waiting itself is tested with a clock that a test moves (reflector.test.ts).
    const { reflector } = reflect();
    reflector.start();
    await converges();
    test.relay.freeze();
    const name = await create();
    test.relay.kill();
    await converges();
    assert.ok(listener.held.has(`${NAMESPACE}/${name}`));
  });
});

describe("a list of a real API server", () => {
  it("has a revision and items with uids, which is all that the reflector relies on", async () => {
    await create();
    const { body } = await test.client.request({ method: "GET", path: PATH, query: { limit: "1" } });
    const { metadata, items } = record(body);
    assert.match(text(record(metadata)["resourceVersion"]), /^\d+$/);
    assert.match(text(record(record((items as unknown[])[0])["metadata"])["uid"]), /^[0-9a-f-]{36}$/);
  });
});
