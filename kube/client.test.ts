import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ManualClock } from "#testing/manual-clock.ts";
import { IDLE_MS, type KubeClient } from "./client.ts";
import type { KubeError } from "./kube-error.ts";
import type { Credential } from "./kubeconfig.ts";
import { FakeApi, status } from "./test-fake-api.ts";
import { accessTo, clientOf, until } from "./test-world.ts";

let fake: FakeApi;
let folder: string;
const clients: KubeClient[] = [];
beforeEach(async () => {
  fake = await FakeApi.start();
  folder = mkdtempSync(join(tmpdir(), "weft-kube-"));
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await fake.close();
  rmSync(folder, { recursive: true, force: true });
});

const PODS = { method: "GET", path: "/api/v1/pods" } as const;

function clientWith(credential: Credential, clock?: ManualClock): KubeClient {
  const client = clientOf(accessTo(fake.url, credential), clock);
  clients.push(client);
  return client;
}

function file(name: string, text: string): string {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
}

/** A plugin that prints the file `answer`. */
function plugin(answer: object): Credential {
  const printed = file("answer", JSON.stringify(answer));
  return {
    kind: "exec",
    command: "cat",
    args: [printed],
    env: {},
    apiVersion: "client.authentication.k8s.io/v1",
    provideClusterInfo: false,
    installHint: "",
  };
}

const execAnswer = (token: string, more: object = {}) => ({
  apiVersion: "client.authentication.k8s.io/v1",
  kind: "ExecCredential",
  status: { token, ...more },
});

describe("a client", () => {
  it("reads a token's file again when the token is refused, and asks once more", async () => {
    fake.tokens = new Set(["old"]);
    const token = file("token", "old\n");
    const client = clientWith({ kind: "tokenFile", file: token });
    assert.equal((await client.request(PODS)).status, 200);
    fake.tokens = new Set(["new"]);
    file("token", "new\n");
    assert.equal((await client.request(PODS)).status, 200);
    assert.equal(fake.asked.length, 3);
  });

  it("reads a token's file again after a minute, before it is refused", async () => {
    const clock = new ManualClock();
    fake.tokens = new Set(["old"]);
    const client = clientWith({ kind: "tokenFile", file: file("token", "old") }, clock);
    await client.request(PODS);
    fake.tokens = new Set(["new"]);
    file("token", "new");
    clock.advance(60_000);
    await client.request(PODS);
    assert.equal(fake.asked.length, 2);
  });

  it("gives up after the second refusal, and says so as the server did", async () => {
    fake.tokens = new Set();
    await assert.rejects(clientWith({ kind: "token", token: "x" }).request(PODS), {
      name: "KubeError",
      status: 401,
      reason: "Unauthorized",
    });
    assert.equal(fake.asked.length, 2);
  });

  it("rejects when a credential cannot be read, and reads it when it is there", async () => {
    const client = clientWith({ kind: "tokenFile", file: join(folder, "later") });
    await assert.rejects(client.request(PODS), { status: 0 });
    file("later", "t");
    assert.equal((await client.request(PODS)).status, 200);
  });

  it("takes a plugin's token until its end, and asks the plugin again when it is refused", async () => {
    fake.tokens = new Set(["one"]);
    const client = clientWith(plugin(execAnswer("one", { expirationTimestamp: "2999-01-01T00:00:00Z" })));
    await client.request(PODS);
    plugin(execAnswer("two"));
    await client.request(PODS);
    fake.tokens = new Set(["two"]);
    await client.request(PODS);
    assert.equal(fake.asked.length, 4);
  });

  const plugins: readonly { name: string; answer: object; says: RegExp }[] = [
    { name: "nothing that proves anything", answer: execAnswer(""), says: /neither a token/ },
    {
      name: "another version",
      answer: { ...execAnswer("x"), apiVersion: "client.authentication.k8s.io/v1beta1" },
      says: /no ExecCredential/,
    },
  ];
  it.each(plugins)("rejects a plugin's answer that holds $name", async ({ answer, says }) => {
    await assert.rejects(clientWith(plugin(answer)).request(PODS), says);
  });

  it("tells how to get a plugin that is not installed", async () => {
    const credential: Credential = {
      kind: "exec",
      command: "weft-no-such-program",
      args: [],
      env: {},
      apiVersion: "client.authentication.k8s.io/v1",
      provideClusterInfo: false,
      installHint: "brew install it",
    };
    await assert.rejects(clientWith(credential).request(PODS), /brew install it/);
  });

  it("keeps connections, and takes another when the kept one was closed meanwhile", async () => {
    const client = clientWith({ kind: "none" });
    await client.request(PODS);
    await client.request(PODS);
    assert.equal(fake.openSockets, 1);
    fake.faults.push({ match: /pods/, act: (request) => void request.socket.resetAndDestroy() });
    assert.equal((await client.request(PODS)).status, 200);
  });

  it("does not send twice what may not be done twice", async () => {
    const client = clientWith({ kind: "none" });
    await client.request(PODS);
    fake.faults.push({ match: /pods/, act: (request) => void request.socket.resetAndDestroy() });
    await assert.rejects(client.request({ method: "POST", path: "/api/v1/namespaces/a/pods", body: { metadata: { name: "x" } } }), {
      status: 0,
    });
    assert.equal(fake.asked.length, 2);
  });

  it("tells what the server said of a refusal: reason, wish and fields", async () => {
    const causes = [{ reason: "FieldValueInvalid", message: "no", field: "spec.x" }];
    fake.faults.push({
      match: /pods/,
      act: (_request, response) => status(response, 422, "Invalid", "is invalid", { causes }, { "retry-after": "3" }),
    });
    const error = await clientWith({ kind: "none" })
      .request(PODS)
      .catch((caught: KubeError) => caught);
    const { status: code, reason, retryAfterMs, causes: said } = error as KubeError;
    assert.deepEqual([code, reason, retryAfterMs, said], [422, "Invalid", 3000, causes]);
  });

  it("waits no longer than a minute for a byte", async () => {
    const clock = new ManualClock();
    fake.faults.push({ match: /pods/, act: () => {} });
    const answer = clientWith({ kind: "none" }, clock).request(PODS);
    const failed = assert.rejects(answer, /in time/);
    await until("it asked", () => fake.asked.length === 1);
    clock.advance(IDLE_MS);
    await failed;
  });

  it("ends with its signal, before and after the answer began", async () => {
    const client = clientWith({ kind: "none" });
    await assert.rejects(client.request({ ...PODS, signal: AbortSignal.abort() }));
    assert.equal(fake.asked.length, 0);
    const abort = new AbortController();
    fake.faults.push({ match: /pods/, act: (_request, response) => void response.writeHead(200).write("{") });
    const failed = assert.rejects(client.request({ ...PODS, signal: abort.signal }), /by the caller/);
    await until("it asked", () => fake.asked.length === 1);
    abort.abort();
    await failed;
    await until("its connection is gone", () => fake.openSockets === 0);
  });
});
