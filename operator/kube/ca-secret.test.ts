import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AuthorityOptions } from "#ca/authority.ts";
import { pem } from "#ca/store.ts";
import type { KubeClient } from "#kube/client.ts";
import { FakeApi, status } from "#kube/test-fake-api.ts";
import { accessTo, clientOf, quietLogger, until } from "#kube/test-world.ts";
import { SystemClock } from "#runtime/clock.ts";
import { ManualClock } from "#testing/manual-clock.ts";
import { openShared } from "./ca-secret.ts";
import { writeTrustBundle } from "./trust-config-map.ts";

const SECRETS = "/api/v1/secrets";
const CONFIG_MAPS = "/api/v1/configmaps";
const DAY = 86_400_000;

let fake: FakeApi;
let client: KubeClient;
const folders: string[] = [];
beforeEach(async () => {
  fake = await FakeApi.start();
  client = clientOf(accessTo(fake.url));
  fake.put(SECRETS, { kind: "Secret", apiVersion: "v1", metadata: { name: "weft-ca", namespace: "weft-system" } });
});
afterEach(async () => {
  client.close();
  await fake.close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function replica(more: Partial<AuthorityOptions> = {}): AuthorityOptions {
  const stateDir = mkdtempSync(join(tmpdir(), "weft-replica-"));
  folders.push(stateDir);
  return {
    stateDir,
    trustDomain: "cluster.local",
    rootTtlMs: 3650 * DAY,
    issuerTtlMs: 90 * DAY,
    clock: new SystemClock(),
    randomBytes,
    ...more,
  };
}

const open = (options: AuthorityOptions, clock = new ManualClock()) =>
  openShared({ client, namespace: "weft-system", name: "weft-ca", clock, logger: quietLogger() }, options);
const rootOf = (authority: Awaited<ReturnType<typeof openShared>>): string => pem("CERTIFICATE", authority.roots()[0]!);

describe("the root of all replicas", () => {
  it("is made by the first and taken by the others, each with an issuer of its own", async () => {
    const first = await open(replica());
    const second = await open(replica());
    assert.equal(rootOf(second), rootOf(first));
    assert.notEqual(second.issuerNotAfterMs, 0);
  });

  it("is one though two make it at once", async () => {
    const clock = new ManualClock();
    const both = [open(replica(), clock), open(replica(), clock)];
    let done = 0;
    for (const one of both) void one.then(() => done++);
    await until("both are open", () => {
      clock.advance(2000);
      return done === 2;
    });
    const [first, second] = await Promise.all(both);
    assert.equal(rootOf(first!), rootOf(second!));
  });

  it("outlives a replica's folder, and replaces one that the folder has from elsewhere, with its issuer", async () => {
    const root = rootOf(await open(replica()));
    const other = replica();
    fake.put(SECRETS, { kind: "Secret", apiVersion: "v1", metadata: { name: "other", namespace: "weft-system" } });
    await openShared({ client, namespace: "weft-system", name: "other", clock: new ManualClock(), logger: quietLogger() }, other);
    assert.equal(rootOf(await open(other)), root);
  });

  it("is waited for while the API server fails or the Secret is not there, and nothing is issued under another meanwhile", async () => {
    fake.delete(SECRETS, "weft-system", "weft-ca");
    fake.faults.push({ match: /secrets/, act: (_request, response) => status(response, 500, "InternalError", "later") });
    const clock = new ManualClock();
    const options = replica();
    let opened = false;
    const authority = open(options, clock).finally(() => {
      opened = true;
    });
    await until("it asked twice", () => {
      clock.advance(2000);
      return fake.asked.length >= 2;
    });
    assert.deepEqual([opened, existsSync(join(options.stateDir, "ca"))], [false, false]);
    fake.put(SECRETS, { kind: "Secret", apiVersion: "v1", metadata: { name: "weft-ca", namespace: "weft-system" } });
    await until("it is open", () => {
      clock.advance(2000);
      return opened;
    });
    assert.equal((await authority).roots().length, 1);
  });

  it("is refused when it is of another trust domain, or broken", async () => {
    await open(replica());
    await assert.rejects(open(replica({ trustDomain: "other.example" })), { name: "StateError" });
    const root = Buffer.from("nothing").toString("base64");
    fake.put(SECRETS, {
      kind: "Secret",
      apiVersion: "v1",
      metadata: { name: "weft-ca", namespace: "weft-system" },
      data: { "root.pem": root },
    });
    await assert.rejects(open(replica()), { name: "StateError" });
  });
});

describe("the trust bundle's ConfigMap", () => {
  const stored = () => (fake.list(CONFIG_MAPS)[0] as { data?: Record<string, string> } | undefined)?.data;

  it("is written once, and keeps what else somebody put there", async () => {
    fake.put(CONFIG_MAPS, { kind: "ConfigMap", apiVersion: "v1", metadata: { name: "b", namespace: "weft-system" }, data: { note: "x" } });
    await writeTrustBundle(client, "weft-system", "b", "PEM");
    await writeTrustBundle(client, "weft-system", "b", "PEM");
    assert.deepEqual([stored(), fake.asked.filter((one) => one.startsWith("PUT")).length], [{ note: "x", "bundle.pem": "PEM" }, 1]);
  });

  it("is not written over what somebody wrote meanwhile", async () => {
    fake.put(CONFIG_MAPS, { kind: "ConfigMap", apiVersion: "v1", metadata: { name: "b", namespace: "weft-system" } });
    fake.faults.push({ match: /^PUT/, act: (_request, response) => status(response, 409, "Conflict", "modified") });
    await assert.rejects(writeTrustBundle(client, "weft-system", "b", "PEM"), /meanwhile/);
  });
});
