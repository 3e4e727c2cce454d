import assert from "node:assert/strict";
import https from "node:https";
import { gzipSync } from "node:zlib";
import { SystemClock } from "#runtime/clock.ts";
import type { ServingCertificate } from "./certificates.ts";
import { list, record } from "./pod.ts";
import { makeServing } from "./test-authority.ts";
import { connect, post, type Reply, startServer, type TestServer, untilEnd } from "./test-server.ts";

const POD = { apiVersion: "v1", kind: "Pod", metadata: { generateName: "cart-" }, spec: { containers: [{ name: "app", image: "app:1" }] } };
const MIB = 1024 * 1024;

function review(object: unknown = POD, more: object = {}): string {
  const request = { uid: "u-1", operation: "CREATE", namespace: "shop", kind: { group: "", version: "v1", kind: "Pod" }, object, ...more };
  return JSON.stringify({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", request });
}

const responseOf = (reply: Reply) => record(record(JSON.parse(reply.body))["response"]);

let serving: ServingCertificate;
let running: TestServer;
beforeAll(async () => {
  serving = await makeServing(new SystemClock().wallMs());
});
beforeEach(async () => {
  running = await startServer(serving, { requestMs: 400, checkMs: 50 });
});
afterEach(() => running.server.close());

const send = (path: string, body: string | Buffer, headers = {}) => post(running.server.port, serving.certPem, path, body, headers);
/** That nothing of an attack is left: the next review is answered as ever. */
async function isAlive(): Promise<boolean> {
  return (await send("/mutate", review())).status === 200;
}

describe("the webhook server", () => {
  it("answers a pod of a labelled namespace with a patch, over TLS 1.3", async () => {
    const reply = await send("/mutate", review(), { "content-type": "application/json; charset=utf-8" });
    const patch = JSON.parse(Buffer.from(String(responseOf(reply)["patch"]), "base64").toString("utf8")) as unknown[];
    assert.deepEqual([reply.status, responseOf(reply)["uid"], responseOf(reply)["allowed"], patch.length], [200, "u-1", true, 3]);
  });

  it("counts and logs what it did", async () => {
    await send("/mutate", review());
    const line = running.lines.find(({ message }) => message === "review: injected");
    assert.deepEqual([line?.["object"], line?.["kind"], line?.["uid"]], ["shop/cart-", "Pod", "u-1"]);
    assert.match(await running.metrics(), /weft_injector_reviews_total\{kind="Pod",outcome="injected"\} 1/);
    assert.match(await running.metrics(), /weft_injector_certificate_expiry_timestamp_seconds \d{10}/);
  });

  it("takes the namespace's word from the path that the API server chose", async () => {
    const bare = await send("/mutate/pod-label", review());
    const labelled = await send("/mutate/pod-label", review({ ...POD, metadata: { labels: { "weft.dev/inject": "enabled" } } }));
    assert.deepEqual(["patch" in responseOf(bare), "patch" in responseOf(labelled)], [false, true]);
  });

  it("refuses a broken resource with field and remedy", async () => {
    const object = {
      apiVersion: "weft.dev/v1alpha1",
      kind: "TrafficPolicy",
      metadata: { name: "p", namespace: "shop" },
      spec: { targetRefs: [] },
    };
    const reply = await send("/validate", review(object, { kind: { group: "weft.dev", version: "v1alpha1", kind: "TrafficPolicy" } }));
    const status = record(responseOf(reply)["status"]);
    assert.deepEqual([reply.status, responseOf(reply)["allowed"], status["code"]], [200, false, 422]);
    assert.ok(list(record(status["details"])["causes"]).some((cause) => record(cause)["field"] === "spec.targetRefs"));
  });

  it("has no metrics, probes or other paths on the port that the cluster sees", async () => {
    const replies = await Promise.all(["/metrics", "/livez", "/", "/mutate/", "/mutate/other"].map((path) => send(path, review())));
    assert.deepEqual(
      replies.map(({ status }) => status),
      [404, 404, 404, 404, 404],
    );
  });

  it("says that it is not ready while it stops, and ends connections with its answers", async () => {
    assert.equal(running.server.notReady(), null);
    running.server.drain();
    const reply = await send("/mutate", review());
    assert.deepEqual([running.server.notReady(), reply.status, reply.headers["connection"]], ["stopping", 200, "close"]);
  });
});

describe("what is no review", () => {
  const cases: readonly {
    readonly name: string;
    readonly body: string | Buffer;
    readonly headers?: Record<string, string>;
    readonly status: number;
  }[] = [
    { name: "garbage", body: "\0\x01\x02{{{", status: 400 },
    { name: "an empty body", body: "", status: 400 },
    { name: "a review of another version", body: review().replace("io/v1", "io/v1beta1"), status: 400 },
    { name: "100,000 levels of nesting", body: review("@").replace('"@"', "[".repeat(100_000) + "]".repeat(100_000)), status: 400 },
    { name: "1,000,000 levels that never end", body: "[".repeat(1_000_000), status: 400 },
    { name: "a text of another content type", body: review(), headers: { "content-type": "text/plain" }, status: 415 },
    { name: "a form", body: "a=b", headers: { "content-type": "application/x-www-form-urlencoded" }, status: 415 },
    { name: "compressed data", body: gzipSync(review()), headers: { "content-encoding": "gzip" }, status: 415 },
    { name: "8 MiB", body: review({ ...POD, junk: "x".repeat(8 * MIB) }), status: 413 },
  ];
  it.each(cases)("is refused: $name", async ({ body, headers, status }) => {
    const reply = await send("/mutate", body, headers);
    assert.deepEqual([reply.status, reply.headers["connection"], await isAlive()], [status, "close", true]);
    assert.ok(!reply.body.includes("at "), "no stack in an answer");
  });

  it("is told in the log with its code, and counted", async () => {
    await send("/mutate", "{");
    const line = running.lines.find(({ code }) => code === "WEFT_BAD_REVIEW");
    assert.deepEqual([line?.["status"], line?.["peer"], line?.["level"]], [400, "127.0.0.1", "warn"]);
    assert.match(await running.metrics(), /outcome="malformed"\} 1/);
  });

  it("is refused by its announced length alone when it says 100 MB, before a byte of it is read", async () => {
    const socket = await connect(running.server.port, serving.certPem);
    const end = untilEnd(socket);
    socket.write(`POST /mutate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${100 * MIB}\r\n\r\n`);
    assert.match(await end, /^HTTP\/1\.1 413 /);
    assert.equal(await isAlive(), true);
  });

  it("is cut off at 7 MiB when 100 MB come in chunks without a length", async () => {
    const socket = await connect(running.server.port, serving.certPem);
    let open = true;
    const end = untilEnd(socket).then((text) => {
      open = false;
      return text;
    });
    socket.write("POST /mutate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n");
    const chunk = Buffer.concat([Buffer.from("100000\r\n"), Buffer.alloc(MIB, 0x20), Buffer.from("\r\n")]);
    let sent = 0;
    for (; sent < 100 && open; sent++) await new Promise<void>((resolve) => socket.write(chunk, () => resolve()));
    await end;
    assert.ok(sent < 30, `${sent} MiB were taken`);
    assert.equal(await isAlive(), true);
  });

  it("is cut off when its body comes too slowly", async () => {
    const socket = await connect(running.server.port, serving.certPem);
    const end = untilEnd(socket);
    socket.write('POST /mutate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n{"api');
    assert.match(await end, /^HTTP\/1\.1 408 /);
    assert.equal(await isAlive(), true);
  });

  it("is cut off when its head never ends", async () => {
    const socket = await connect(running.server.port, serving.certPem);
    const end = untilEnd(socket);
    socket.write("POST /mutate HTTP/1.1\r\nhost: x\r\nx-a: ");
    assert.match(await end, /^HTTP\/1\.1 408 /);
  });

  it("is refused for now when too many bodies are under way, and not held for ever", async () => {
    await running.server.close();
    running = await startServer(serving, { requestMs: 400, checkMs: 50, bodiesBytesMax: 100_000 });
    const slow = await connect(running.server.port, serving.certPem);
    const end = untilEnd(slow);
    slow.write(`POST /mutate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99000\r\n\r\n${" ".repeat(98_000)}`);
    const big = review({ ...POD, junk: "x".repeat(50_000) });
    let status = 200;
    for (let i = 0; i < 100 && status === 200; i++) status = (await send("/mutate", big)).status;
    assert.equal(status, 503);
    await end;
    assert.equal((await send("/mutate", big)).status, 200);
  });
});

describe("a new serving certificate", () => {
  it("is served to the next connection, with no call refused meanwhile and none cut", async () => {
    const next = await makeServing(new SystemClock().wallMs(), 3_600_000, "CN=next");
    const both = serving.certPem + next.certPem;
    const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
    const calls: Promise<Reply>[] = [];
    const seen: string[] = [];
    const call = async (i: number): Promise<void> => {
      if (i === 20) running.certificates.give(next);
      calls.push(post(running.server.port, both, "/mutate", review()), post(running.server.port, both, "/mutate", review(), {}, agent));
      await Promise.all(calls.slice(-2));
      const socket = await connect(running.server.port, both);
      seen.push(socket.getPeerX509Certificate()?.subject ?? "");
      socket.destroy();
    };
    for (let i = 0; i < 40; i++) await call(i);
    agent.destroy();
    assert.deepEqual([...new Set((await Promise.all(calls)).map(({ status }) => status))], [200]);
    assert.deepEqual(
      [seen.slice(0, 20), seen.slice(20)].map((half) => [...new Set(half)]),
      [["CN=weft-injector"], ["CN=next"]],
    );
  });

  it("that cannot be used leaves the old one in use", async () => {
    running.certificates.refuse("the key does not belong to the certificate");
    assert.equal(await isAlive(), true);
    assert.match(await running.metrics(), /weft_injector_certificate_reloads_total\{outcome="refused"\} 1/);
  });
});
