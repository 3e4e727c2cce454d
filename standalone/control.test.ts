import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { KubeObject } from "#api/resources/kube.ts";
import { SystemClock } from "#runtime/clock.ts";
import { control, NoRunError, StandaloneAttestor, StandaloneSource, StandaloneStatusWriter, WatchReader } from "./client.ts";
import { type ControlActions, ControlServer } from "./control.ts";
import { ObjectStore } from "./store.ts";
import { until } from "./testdata/until.ts";
import { TokenBook } from "./tokens.ts";

const clock = new SystemClock();
const object = (name: string): KubeObject => ({ apiVersion: "v1", kind: "Service", metadata: { name, namespace: "shop" }, spec: {} });

const actions = (statuses: unknown[] = []): ControlActions => ({
  stop: async (target) => ({ ok: target === "operator", message: target }),
  start: async () => ({ ok: true, message: "" }),
  state: async () => ({ pods: [] }),
  identityFacts: () => ({ operatorAddress: "127.77.0.1:16810", trustDomain: "cluster.local", bundle: "" }),
  adminSocket: () => null,
  onStatus: (ref, status) => statuses.push([ref.name, status]),
});

describe("the control socket", () => {
  let state: string;
  let store: ObjectStore;
  let tokens: TokenBook;
  let server: ControlServer;
  const statuses: unknown[] = [];
  const listen = async (): Promise<void> => {
    server = new ControlServer(store, tokens, actions(statuses));
    await server.listen(path.join(state, "control.sock"));
  };

  beforeEach(async () => {
    state = fs.mkdtempSync(path.join(os.tmpdir(), "weft-control-test-"));
    store = new ObjectStore(clock, () => "uid");
    tokens = new TokenBook(clock, () => "secret");
    await listen();
  });
  afterEach(() => {
    server.close();
    fs.rmSync(state, { recursive: true, force: true });
  });

  it("feeds a source: all there is, then changes, and all anew after a lost connection", async () => {
    store.apply(object("a"));
    const seen: unknown[] = [];
    const source = new StandaloneSource(state, clock);
    source.start({
      onSync: (objects, revision) => seen.push(["sync", revision, ...objects.map((o) => o.metadata.name)]),
      onChange: (change) => seen.push([change.type, change.object.metadata.name]),
      onConnected: (connected) => seen.push(connected),
    });
    await until("synced", () => seen.length === 2);
    store.apply(object("b"));
    store.remove("Service", "shop", "a");
    await until("changes", () => seen.length === 4);
    server.close();
    await until("lost", () => seen.length === 5);
    await listen();
    await until("synced again", () => seen.length === 7);
    source.close();
    assert.deepEqual(seen, [true, ["sync", "1", "a"], ["applied", "b"], ["deleted", "a"], false, true, ["sync", "3", "b"]]);
  });

  it("takes statuses of objects that are there", async () => {
    store.apply(object("a"));
    const ref = { apiVersion: "v1", kind: "Service", namespace: "shop", name: "a", uid: "uid" };
    const writer = new StandaloneStatusWriter(state);
    await writer.write(ref, { ok: true });
    await writer.write({ ...ref, name: "gone" }, { ok: true });
    assert.deepEqual(store.get("Service", "shop", "a")?.status, { ok: true });
    assert.deepEqual(statuses.splice(0), [["a", { ok: true }]]);
  });

  it("reviews tokens, and makes them for service accounts", async () => {
    const attestor = new StandaloneAttestor(state);
    assert.equal(await attestor.attest("nonsense"), null);
    const { body } = await control(state, "POST", "/v1/token", { serviceAccount: "shop/web" });
    assert.deepEqual(body, { token: "secret", operatorAddress: "127.77.0.1:16810", trustDomain: "cluster.local", bundle: "" });
    assert.deepEqual(await attestor.attest("secret"), { namespace: "shop", serviceAccount: "web", pod: "", podUid: "" });
  });

  it("refuses what it does not understand", async () => {
    const asked = await Promise.all([
      control(state, "POST", "/v1/token", { serviceAccount: "../x" }),
      control(state, "POST", "/v1/tokenreview", "not json"),
      control(state, "PUT", "/v1/status", {}),
      control(state, "GET", "/v1/nothing"),
      control(state, "GET", "/v1/pods/shop/none/config"),
      control(state, "POST", "/v1/stop", { target: "none" }),
      control(state, "POST", "/v1/tokenreview", { token: "x".repeat(1024 * 1024) }),
    ]);
    assert.deepEqual(
      asked.map((a) => a.status),
      [400, 400, 400, 404, 404, 404, 413],
    );
  });

  it("is found missing with a remedy", async () => {
    await assert.rejects(
      control(path.join(state, "none"), "GET", "/v1/state"),
      (error: Error) => error instanceof NoRunError && /WEFT_NO_RUN.*weft run/.test(error.message),
    );
  });
});

describe("the watch stream", () => {
  const wire = Buffer.from(
    `${[{ type: "begin" }, { type: "object", object: object("ä") }, { type: "sync", revision: "7" }, { type: "later" }, { type: "deleted", object: object("b") }].map((l) => JSON.stringify(l)).join("\n")}\n`,
  );
  const read = (chunks: readonly Buffer[]): unknown[] => {
    const seen: unknown[] = [];
    const reader = new WatchReader({
      onSync: (o, revision) => seen.push([revision, ...o.map((x) => x.metadata.name)]),
      onChange: (c) => seen.push(c.type),
    });
    for (const chunk of chunks) seen.push(...(reader.receive(chunk) ? [] : ["broken"]));
    return seen;
  };

  it("reads the same wherever the socket splits it", () => {
    for (let at = 0; at <= wire.length; at++)
      assert.deepEqual(read([wire.subarray(0, at), wire.subarray(at)]), [["7", "ä"], "deleted"], `split at ${at}`);
  });

  it("is given up when it is not ours or has a line without end", () => {
    assert.deepEqual(read([Buffer.from("HTTP/1.1 200\n")]), ["broken"]);
    assert.deepEqual(read([Buffer.alloc(17 * 1024 * 1024, "x")]), ["broken"]);
  });
});
