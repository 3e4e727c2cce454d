import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, createServer as createTlsServer, type TLSSocket } from "node:tls";
import type { SpiffeId } from "#api/spiffe.ts";
import { ManualClock } from "#testing/manual-clock.ts";
import { SystemClock } from "#runtime/clock.ts";
import type { FetchedIdentity } from "./client.ts";
import { peerId } from "./peer.ts";
import { IdentityStore } from "./store.ts";
import { type Authority, type LeafRequest, makeAuthority } from "./testdata/authority.ts";

const ID = "spiffe://cluster.local/ns/shop/sa/cart" as SpiffeId;
const HOUR = 3_600_000;

let authority: Authority;
let other: Authority;
let stateDir: string;
beforeAll(async () => {
  authority = await makeAuthority();
  other = await makeAuthority("CN=next root");
});
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), "weft-identity-"));
});
afterEach(() => rmSync(stateDir, { recursive: true }));

async function fetched(leaf: LeafRequest = { uris: [ID] }): Promise<FetchedIdentity> {
  const wallMs = Math.floor(new SystemClock().wallMs() / 1000) * 1000;
  const notAfterMs = wallMs + HOUR;
  const { pem, keyPem } = await authority.issue({ ...leaf, notAfter: new Date(notAfterMs) });
  const times = { notBeforeMs: wallMs - 300_000, notAfterMs, issuedAtMs: wallMs };
  return {
    keyPem,
    chainPem: [pem],
    rootsPem: [authority.rootPem],
    spiffeId: ID,
    trustDomain: "cluster.local",
    renewAfterPercent: 50,
    ...times,
  };
}

function store(clock = new ManualClock(new SystemClock().wallMs())): IdentityStore {
  return new IdentityStore({ stateDir, spiffeId: ID, trustDomain: "cluster.local", clock });
}

describe("the identity store", () => {
  it("holds nothing at first", () => {
    const s = store();
    assert.deepEqual([s.load(), s.current(), s.lifetime()], [false, null, null]);
  });

  it("makes one version of each SVID and tells of it", async () => {
    const s = store();
    const told: number[] = [];
    const stop = s.onChange((identity) => told.push(identity.version));
    assert.equal(s.setIdentity(await fetched()), null);
    const first = s.current();
    assert.equal(s.setIdentity(await fetched()), null);
    stop();
    assert.equal(s.setIdentity(await fetched()), null);
    assert.deepEqual(told, [1, 2]);
    assert.deepEqual([first?.version, s.current()?.version], [1, 3]);
    assert.notEqual(first?.clientContext, s.current()?.clientContext);
  });

  it("makes a new version of a new bundle, and none of the same bundle in another order", async () => {
    const s = store();
    s.setIdentity(await fetched());
    const bundle = s.current()!.bundleVersion;
    assert.ok(s.setRoots([other.rootDer, authority.rootDer]));
    assert.equal(s.current()!.version, 2);
    assert.notEqual(s.current()!.bundleVersion, bundle);
    assert.ok(s.setRoots([authority.rootDer, other.rootDer]));
    assert.equal(s.current()!.version, 2);
  });

  it("keeps the trust document's roots over those that come with a renewed SVID", async () => {
    const s = store();
    s.setIdentity(await fetched());
    s.setRoots([other.rootDer, authority.rootDer]);
    const bundle = s.current()!.bundleVersion;
    s.setIdentity(await fetched());
    assert.equal(s.current()!.bundleVersion, bundle);
  });

  it("refuses an empty bundle and an unreadable root, and changes nothing", async () => {
    const s = store();
    s.setIdentity(await fetched());
    assert.deepEqual([s.setRoots([]), s.setRoots([new Uint8Array([1, 2])])], [false, false]);
    assert.equal(s.current()!.version, 1);
  });

  const refused: {
    name: string;
    change: (f: FetchedIdentity) => Promise<Partial<FetchedIdentity>> | Partial<FetchedIdentity>;
    reason: RegExp;
  }[] = [
    {
      name: "of another workload",
      change: () => fetched({ uris: ["spiffe://cluster.local/ns/shop/sa/admin"] }),
      reason: /this workload is/,
    },
    { name: "with the key of another", change: async () => ({ keyPem: (await fetched()).keyPem }), reason: /key does not belong/ },
    { name: "with no key", change: () => ({ keyPem: "" }), reason: /key does not belong/ },
    { name: "with times that the certificate does not have", change: (f) => ({ notAfterMs: f.notAfterMs + HOUR }), reason: /times/ },
    { name: "without roots", change: () => ({ rootsPem: [] }), reason: /missing/ },
    { name: "with a chain that cannot be read", change: () => ({ chainPem: ["x"] }), reason: /missing or unreadable/ },
  ];
  it.each(refused)("refuses an SVID $name", async ({ change, reason }) => {
    const s = store();
    const honest = await fetched();
    assert.match(s.setIdentity({ ...honest, ...(await change(honest)) })?.refused ?? "accepted", reason);
    assert.equal(s.current(), null);
  });

  it("keeps it over a restart, readable by the owner alone, with the newest bundle", async () => {
    const before = store();
    before.setIdentity(await fetched());
    before.setRoots([authority.rootDer, other.rootDer]);
    const after = store();
    assert.ok(after.load());
    assert.equal(statSync(join(stateDir, "identity.json")).mode & 0o777, 0o600);
    assert.equal(after.current()!.keyPem, before.current()!.keyPem);
    assert.equal(after.current()!.bundleVersion, before.current()!.bundleVersion);
    assert.deepEqual(after.lifetime(), before.lifetime());
  });

  const notLoaded: { name: string; spoil: (path: string) => void; laterMs?: number; id?: string }[] = [
    { name: "that has expired", spoil: () => {}, laterMs: HOUR + 1 },
    { name: "of another workload", spoil: () => {}, id: "spiffe://cluster.local/ns/shop/sa/admin" },
    { name: "that others may read", spoil: (path) => chmodSync(path, 0o644) },
    { name: "that is not JSON", spoil: (path) => writeFileSync(path, "{") },
    { name: "that is JSON of another shape", spoil: (path) => writeFileSync(path, "[null]") },
    { name: "cut off half-way", spoil: (path) => writeFileSync(path, readFileSync(path).subarray(0, 700)) },
    {
      name: "behind a symbolic link",
      spoil: (path) => {
        writeFileSync(`${path}.elsewhere`, readFileSync(path), { mode: 0o600 });
        rmSync(path);
        symlinkSync(`${path}.elsewhere`, path);
      },
    },
  ];
  it.each(notLoaded)("does not take up a file $name", async ({ spoil, laterMs, id }) => {
    store().setIdentity(await fetched());
    spoil(join(stateDir, "identity.json"));
    const clock = new ManualClock(new SystemClock().wallMs() + (laterMs ?? 0));
    const s = new IdentityStore({ stateDir, spiffeId: (id ?? ID) as SpiffeId, trustDomain: "cluster.local", clock });
    assert.deepEqual([s.load(), s.current()], [false, null]);
  });

  it("goes on with an SVID that could not be written, and says so", async () => {
    const errors: unknown[] = [];
    const s = new IdentityStore({
      stateDir: join(stateDir, "absent"),
      spiffeId: ID,
      trustDomain: "cluster.local",
      clock: new ManualClock(),
      onWriteFailed: (e) => errors.push(e),
    });
    assert.equal(s.setIdentity(await fetched()), null);
    assert.equal(s.current()?.version, 1);
    assert.equal(errors.length, 1);
  });
});

describe("the id of a TLS peer", () => {
  /** What a server like inbound's says of a client: through a tls.Server that never listens, so that Node verifies. */
  async function idSeen(
    by: Authority,
    leaf: LeafRequest | null,
  ): Promise<{ id: string | null; again: string | null; protocol: string | null }> {
    const s = store();
    s.setIdentity(await fetched());
    const client = leaf === null ? {} : await by.issue(leaf).then(({ pem, keyPem }) => ({ cert: pem, key: keyPem }));
    const seen = Promise.withResolvers<TLSSocket>();
    const server = createTlsServer(
      { ...s.current()!.tlsOptions, requestCert: true, rejectUnauthorized: false, minVersion: "TLSv1.3" },
      seen.resolve,
    );
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const socket = connect({
      host: "127.0.0.1",
      port: (server.address() as { port: number }).port,
      ca: authority.rootPem,
      checkServerIdentity: () => undefined,
      ...client,
    });
    socket.on("error", () => {});
    const peer = await seen.promise;
    const result = { id: peerId(peer), again: peerId(peer), protocol: peer.getProtocol() };
    peer.destroy();
    socket.destroy();
    await new Promise((resolve) => server.close(resolve));
    return result;
  }

  it("is its SPIFFE id when our roots verify it, each time it is asked for", async () => {
    assert.deepEqual(await idSeen(authority, { uris: [ID] }), { id: ID, again: ID, protocol: "TLSv1.3" });
  });

  const nobody: { name: string; by: () => Authority; leaf: LeafRequest | null }[] = [
    { name: "without a certificate", by: () => authority, leaf: null },
    { name: "with the right id from a foreign CA", by: () => other, leaf: { uris: [ID] } },
    {
      name: "whose certificate has expired",
      by: () => authority,
      leaf: { uris: [ID], notAfter: new Date(Date.UTC(2020, 0, 1)), notBefore: new Date(Date.UTC(2019, 0, 1)) },
    },
    {
      name: "whose certificate is not valid yet",
      by: () => authority,
      leaf: { uris: [ID], notBefore: new Date(Date.UTC(2090, 0, 1)), notAfter: new Date(Date.UTC(2091, 0, 1)) },
    },
    { name: "with two ids", by: () => authority, leaf: { uris: [ID, `${ID}2`] } },
    { name: "with a CA certificate", by: () => authority, leaf: { uris: [ID], isCa: true } },
  ];
  it.each(nobody)("is none $name", async ({ by, leaf }) => {
    assert.deepEqual((await idSeen(by(), leaf)).id, null);
  });
});
