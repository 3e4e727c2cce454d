import assert from "node:assert/strict";
import { createServer, type Socket } from "node:net";
import type { KubeObject } from "#api/resources/kube.ts";
import { ManualClock } from "#testing/manual-clock.ts";
import { SystemClock } from "#runtime/clock.ts";
import type { KubeClient } from "./client.ts";
import { errorOf, KubeError } from "./kube-error.ts";
import { failureOf, Reflector, type ReflectorHandlers, WATCH_IDLE_MS } from "./reflector.ts";
import { SERVICES } from "./resource.ts";
import { answer, FakeApi, type Fault, line, status } from "./test-fake-api.ts";
import { accessTo, clientOf, contentOf, kubeMetrics, Listener, metric, quietLogger, until } from "./test-world.ts";

const COLLECTION = "/api/v1/services";
const LIST = /^GET \/api\/v1\/services(?!.*watch=1)/;
const WATCH = /^GET \/api\/v1\/services.*watch=1/;

const service = (name: string, more: object = {}) => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name, namespace: "shop" },
  ...more,
});

let fake: FakeApi;
let client: KubeClient;
let listener: Listener;
const running: Reflector[] = [];

beforeEach(async () => {
  fake = await FakeApi.start();
  client = clientOf(accessTo(fake.url));
  listener = new Listener();
});
afterEach(async () => {
  for (const reflector of running.splice(0)) reflector.stop();
  client.close();
  await fake.close();
});

function reflect(handlers: ReflectorHandlers = listener, more: Partial<ConstructorParameters<typeof Reflector>[0]> = {}) {
  const metrics = kubeMetrics();
  const log: string[] = [];
  const deps = { client, resource: SERVICES, handlers, clock: new SystemClock(), random: () => 0, logger: quietLogger(log), metrics };
  const reflector = new Reflector({ ...deps, ...more });
  running.push(reflector);
  return { reflector, metrics, log };
}

/** The listener's copy, from what it was told alone, is what the server has. */
const converged = () => until("the copy equals the server's", () => JSON.stringify(listener.content()) === JSON.stringify(real()));
const real = () => contentOf(fake.list(COLLECTION) as unknown as KubeObject[]);

async function watching(more: Partial<ConstructorParameters<typeof Reflector>[0]> = {}) {
  fake.put(COLLECTION, service("a"));
  const made = reflect(listener, more);
  made.reflector.start();
  await until("a watch is open", () => fake.openWatches === 1);
  return made;
}

const refuse =
  (code: number, reason: string, headers: Record<string, string> = {}): Fault =>
  (_request, response) =>
    status(response, code, reason, reason, {}, headers);

describe("a reflector of an API server that fails", () => {
  const answers: readonly { name: string; act: Fault }[] = [
    { name: "500", act: refuse(500, "InternalError") },
    { name: "429 without a time", act: refuse(429, "TooManyRequests") },
    { name: "429 with Retry-After: 0", act: refuse(429, "TooManyRequests", { "retry-after": "0" }) },
    { name: "403", act: refuse(403, "Forbidden") },
    { name: "410", act: refuse(410, "Expired") },
    { name: "404", act: refuse(404, "NotFound") },
    { name: "a reset", act: (request) => void request.socket.destroy() },
    { name: "HTML", act: (_request, response) => void response.writeHead(200).end("<html>") },
    { name: "JSON that is no list", act: (_request, response) => answer(response, 200, { kind: "Status" }) },
    {
      name: "half a body",
      act: (_request, response) => {
        response.writeHead(200, { "content-length": "1000" });
        response.write('{"items":[');
        response.socket?.end();
      },
    },
  ];

  it.each(answers)("goes on after a list was answered with $name", async ({ act }) => {
    fake.put(COLLECTION, service("a"));
    fake.faults.push({ match: LIST, act }, { match: LIST, act });
    const { reflector } = reflect();
    reflector.start();
    await converged();
    assert.equal(listener.syncs, 1);
  });

  it.each(answers)("goes on after a watch was answered with $name", async ({ act }) => {
    fake.put(COLLECTION, service("a"));
    fake.faults.push({ match: WATCH, act }, { match: WATCH, act });
    const { reflector } = reflect();
    reflector.start();
    await until("synced", () => reflector.isSynced());
    fake.put(COLLECTION, service("b"));
    fake.delete(COLLECTION, "shop", "a");
    await converged();
  });

  const lines: readonly { name: string; bytes: string }[] = [
    { name: "ERROR 410", bytes: line({ type: "ERROR", object: { kind: "Status", code: 410, reason: "Expired" } }) },
    { name: "ERROR 410 that only the reason names", bytes: line({ type: "ERROR", object: { kind: "Status", reason: "Gone" } }) },
    { name: "ERROR 500", bytes: line({ type: "ERROR", object: { kind: "Status", code: 500, message: "etcd" } }) },
    {
      name: "ERROR 429 with a time",
      bytes: line({ type: "ERROR", object: { kind: "Status", code: 429, details: { retryAfterSeconds: 0 } } }),
    },
    { name: "ERROR without an object", bytes: line({ type: "ERROR" }) },
    { name: "a line that is no JSON", bytes: '{"type":"ADD\n' },
    { name: "an event of a kind that nobody knows", bytes: line({ type: "PERHAPS", object: {} }) },
    { name: "an event without a name", bytes: line({ type: "ADDED", object: { metadata: {} } }) },
    { name: "null", bytes: "null\n" },
  ];
  it.each(lines)("goes on after a watch said $name", async ({ bytes }) => {
    await watching();
    fake.inject(bytes);
    fake.put(COLLECTION, service("b"));
    await converged();
  });

  it("goes on from half a line, from the last whole event", async () => {
    await watching();
    fake.put(COLLECTION, service("b"));
    await converged();
    fake.inject('{"type":"ADDED","object":{"metadata":{"name":"half"');
    fake.endWatches();
    fake.put(COLLECTION, service("c"));
    await converged();
    assert.equal(fake.asked.filter((asked) => LIST.test(asked)).length, 1);
  });

  it("gets through a storm of 410 with no more than one list a wait", async () => {
    const clock = new ManualClock();
    client.close();
    client = clientOf(accessTo(fake.url), clock);
    fake.put(COLLECTION, service("a"));
    const act: Fault = (_request, response) =>
      response.writeHead(200).end(line({ type: "ERROR", object: { kind: "Status", code: 410, reason: "Expired" } }));
    fake.faults.push(...Array.from({ length: 7 }, () => ({ match: WATCH, act })));
    const { reflector } = reflect(listener, { clock, random: () => 0.999 });
    reflector.start();
    let waitedMs = 0;
    await until("the storm is over", () => {
      clock.advance(500);
      waitedMs += 500;
      return fake.openWatches === 1;
    });
    assert.equal(fake.asked.filter((asked) => LIST.test(asked)).length, 8);
    // 0.8 + 1.6 + 3.2 + 6.4 + 12.8 + 25.6 + 30 s of waiting.
    assert.ok(waitedMs > 80_000, `${waitedMs} ms`);
    reflector.stop();
  });

  it("notices a half-open connection: no byte for longer than bookmarks take, then another watch", async () => {
    const clock = new ManualClock();
    client.close();
    client = clientOf(accessTo(fake.url), clock);
    const { reflector } = await watching({ clock });
    clock.advance(WATCH_IDLE_MS - 1000);
    fake.bookmark();
    fake.put(COLLECTION, service("b"));
    await converged();
    clock.advance(WATCH_IDLE_MS - 1);
    assert.equal(fake.openWatches, 1);
    fake.forgetWatches();
    fake.put(COLLECTION, service("c"));
    await until("another watch told of it", () => {
      clock.advance(1);
      return listener.held.has("shop/c");
    });
    reflector.stop();
  });

  it("gives up a list that hangs", async () => {
    const clock = new ManualClock();
    client.close();
    client = clientOf(accessTo(fake.url), clock);
    fake.put(COLLECTION, service("a"));
    fake.faults.push({ match: LIST, act: () => {} }, { match: LIST, act: (_request, response) => void response.writeHead(200).write("{") });
    const { reflector } = reflect(listener, { clock });
    reflector.start();
    await until("synced", () => {
      clock.advance(10_000);
      return reflector.isSynced();
    });
    reflector.stop();
  });

  it("lists in pages, and from the first again when the list expires half-way", async () => {
    for (let i = 0; i < 1203; i++) fake.put(COLLECTION, service(`s-${i}`));
    fake.faults.push({ match: /continue=/, act: refuse(410, "Expired") });
    const { reflector } = reflect();
    reflector.start();
    await converged();
    assert.equal(listener.held.size, 1203);
    assert.equal(fake.asked.filter((asked) => LIST.test(asked)).length, 5);
    assert.ok(fake.asked.filter((asked) => LIST.test(asked)).every((asked) => asked.includes("limit=500")));
  });

  it("asks for bookmarks and for an end that differs from watch to watch", async () => {
    await watching({ random: () => 0.5 });
    const asked = fake.asked.find((one) => WATCH.test(one)) ?? "";
    assert.match(asked, /allowWatchBookmarks=true/);
    assert.match(asked, /timeoutSeconds=450/);
  });

  it("goes on from a bookmark's revision, though all before it is compacted", async () => {
    await watching();
    fake.put("/api/v1/pods", { metadata: { name: "else", namespace: "shop" } });
    fake.bookmark();
    fake.compact();
    await until("the bookmark was read", () => running[0]?.resourceVersion === fake.revision);
    fake.endWatches();
    await until("another watch", () => fake.openWatches === 1);
    fake.put(COLLECTION, service("b"));
    await converged();
    assert.equal(fake.asked.filter((asked) => LIST.test(asked)).length, 1);
  });
});

describe("a handler that throws", () => {
  it("never ends the reflector, is counted, and gets what it missed again", async () => {
    let failures = 0;
    const fails = (): void => {
      if (failures++ % 2 === 0) throw new Error("boom");
    };
    const { reflector, metrics, log } = reflect({
      onSync: (objects) => {
        fails();
        listener.onSync(objects);
      },
      onChange: (change) => {
        fails();
        listener.onChange(change);
      },
      onConnected: fails,
    });
    fake.put(COLLECTION, service("a"));
    reflector.start();
    await until("a watch is open", () => fake.openWatches === 1);
    fake.put(COLLECTION, service("b"));
    fake.delete(COLLECTION, "shop", "a");
    fake.put(COLLECTION, service("c"));
    await converged();
    assert.ok((await metric(metrics, 'weft_kube_handler_errors_total{resource="services"}')) >= 3);
    assert.ok(log.some((entry) => entry.includes("boom")));
  });

  it("is not asked for an object's older state after it took a newer one", async () => {
    const seen: string[] = [];
    const clock = new ManualClock();
    const { reflector } = reflect(
      {
        ...listener,
        onSync: () => {},
        onConnected: () => {},
        onChange: ({ object }) => {
          seen.push(String((object as { spec?: unknown }).spec));
          if (seen.length === 1) throw new Error("boom");
        },
      },
      { clock },
    );
    reflector.start();
    await until("a watch is open", () => fake.openWatches === 1);
    fake.put(COLLECTION, service("a", { spec: "old" }));
    fake.put(COLLECTION, service("a", { spec: "new" }));
    await until("both were told", () => seen.length === 2);
    clock.advance(60_000);
    assert.deepEqual(seen, ["old", "new"]);
    reflector.stop();
  });
});

describe("stopping", () => {
  const moments: readonly { name: string; at: () => boolean; fault?: { match: RegExp; act: Fault } }[] = [
    { name: "at once", at: () => true },
    { name: "while a list hangs", at: () => fake.asked.length === 1, fault: { match: LIST, act: () => {} } },
    {
      name: "within a list's body",
      at: () => fake.asked.length === 1,
      fault: { match: LIST, act: (_request, response) => void response.writeHead(200).write('{"items":[') },
    },
    { name: "while a watch hangs", at: () => fake.asked.length === 2, fault: { match: WATCH, act: () => {} } },
    { name: "while a watch is open", at: () => fake.openWatches === 1 },
    {
      name: "while it waits after a failure",
      at: () => fake.asked.length === 1,
      fault: { match: LIST, act: refuse(429, "", { "retry-after": "60" }) },
    },
  ];

  it.each(moments)("$name leaves no request, and nothing is told or asked any more", async ({ at, fault }) => {
    fake.put(COLLECTION, service("a"));
    if (fault !== undefined) fake.faults.push(fault);
    const { reflector } = reflect();
    reflector.start();
    await until("the moment", at);
    reflector.stop();
    client.close();
    await until("no connection is left", () => fake.openSockets === 0);
    const asked = fake.asked.length;
    fake.put(COLLECTION, service("b"));
    assert.deepEqual([listener.held.has("shop/b"), fake.asked.length], [false, asked]);
  });

  it("from within a handler opens no watch afterwards", async () => {
    const made = reflect({ ...listener, onSync: () => made.reflector.stop(), onChange: () => {}, onConnected: () => {} });
    made.reflector.start();
    await until("synced", () => made.reflector.isSynced());
    client.close();
    await until("no connection is left", () => fake.openSockets === 0);
    assert.equal(fake.asked.filter((asked) => WATCH.test(asked)).length, 0);
  });

  it("and starting, many times over, ends with one watch", async () => {
    fake.put(COLLECTION, service("a"));
    const { reflector } = reflect();
    for (let i = 0; i < 50; i++) {
      reflector.start();
      reflector.start();
      if (i % 3 !== 0) reflector.stop();
    }
    reflector.start();
    await converged();
    await until("one watch", () => fake.openWatches === 1);
    assert.equal(listener.syncs, 1);
  });
});

describe("what a reflector shows", () => {
  it("is what its transform keeps; one that throws costs nothing but a count", async () => {
    fake.put(COLLECTION, service("a"));
    fake.put(COLLECTION, service("bad"));
    const transform = (object: KubeObject): KubeObject => {
      if (object.metadata.name === "bad") throw new Error("no");
      return { ...object, metadata: { ...object.metadata, labels: { seen: "yes" } } };
    };
    const { reflector, metrics } = reflect(listener, { transform });
    reflector.start();
    await until("synced", () => reflector.isSynced());
    assert.deepEqual(
      [listener.held.get("shop/a")?.metadata.labels, listener.held.get("shop/bad")?.metadata.labels],
      [{ seen: "yes" }, undefined],
    );
    assert.equal(await metric(metrics, 'weft_kube_handler_errors_total{resource="services"}'), 1);
  });

  it("counts its lists and watches, and tells how long the server has said nothing", async () => {
    const clock = new ManualClock();
    client.close();
    client = clientOf(accessTo(fake.url), clock);
    const { metrics, reflector } = await watching({ clock });
    clock.advance(30_000);
    assert.deepEqual(
      await Promise.all(
        ['weft_kube_lists_total{resource="services",outcome="ok"}', 'weft_kube_last_event_age_seconds{resource="services"}'].map((series) =>
          metric(metrics, series),
        ),
      ),
      [1, 30],
    );
    reflector.stop();
  });
});

describe("a kind that is not installed", () => {
  it("is looked for in vain without a complaint where it may be absent, and with the remedy where it must be there", async () => {
    fake.missing.add(COLLECTION);
    const clock = new ManualClock();
    const optional = reflect(listener, { optional: true, clock });
    optional.reflector.start();
    await until("it is known to be absent", () => optional.reflector.isSynced());
    const required = reflect(new Listener(), { clock });
    required.reflector.start();
    await until("it complains", () => required.log.length > 0);
    assert.equal(optional.log.filter((entry) => entry.includes('"level":"warn"')).length, 0);
    assert.match(required.log[0] ?? "", /"level":"warn".*chart weft-crds/);
    for (const { reflector } of [optional, required]) reflector.stop();
  });
});

describe("the connection to an API server that accepts and says nothing", () => {
  it("is given up, and none is left after stopping", async () => {
    const sockets = new Set<Socket>();
    const silent = createServer((socket) => {
      sockets.add(socket);
      socket
        .resume()
        .on("error", () => {})
        .once("close", () => sockets.delete(socket));
    });
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const clock = new ManualClock();
    const mute = clientOf(accessTo(`http://127.0.0.1:${(silent.address() as { port: number }).port}`), clock);
    const { reflector } = reflect(listener, { client: mute, clock });
    reflector.start();
    await until("it is unreachable", () => {
      clock.advance(10_000);
      return listener.told.includes("lost");
    });
    reflector.stop();
    mute.close();
    await until("no connection is left", () => sockets.size === 0);
    await new Promise((resolve) => silent.close(resolve));
  });
});

describe("what an error means for a watch", () => {
  const cases: readonly { name: string; error: KubeError; kind: string }[] = [
    { name: "410", error: new KubeError("", 410), kind: "expired" },
    { name: "a reason Expired, whatever the status", error: new KubeError("", 500, "Expired"), kind: "expired" },
    { name: "404", error: new KubeError("", 404), kind: "missing" },
    { name: "429 with a time", error: errorOf(429, {}, "5"), kind: "throttled" },
    { name: "429 without one", error: errorOf(429, {}, undefined), kind: "broken" },
    { name: "503 with a time", error: errorOf(503, {}, "1"), kind: "throttled" },
    { name: "401", error: errorOf(401, {}, undefined), kind: "broken" },
    { name: "400: the question itself is refused", error: errorOf(400, {}, undefined), kind: "confused" },
    {
      name: "a revision that the server has not reached",
      error: errorOf(504, { message: "Timeout: Too large resource version: 9, current: 1", details: { retryAfterSeconds: 1 } }, undefined),
      kind: "confused",
    },
    { name: "no answer", error: new KubeError("ECONNREFUSED"), kind: "broken" },
  ];
  it.each(cases)("is right for $name: $kind", ({ error, kind }) => {
    assert.equal(failureOf(error, true).kind, kind);
  });

  it("never makes it wait longer than five minutes, whatever the server wishes", () => {
    assert.equal(errorOf(429, {}, "999999").retryAfterMs, 300_000);
    assert.equal(errorOf(429, {}, "Wed, 21 Oct 2026 07:28:00 GMT").retryAfterMs, null);
  });
});
