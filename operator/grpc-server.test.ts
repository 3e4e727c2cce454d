import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import { connect as connectTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type PeerCertificate } from "node:tls";
import { Authority } from "#ca/authority.ts";
import { DEFAULT_ISSUER_TTL_MS, DEFAULT_ROOT_TTL_MS } from "#ca/profiles.ts";
import { MetricsRegistry } from "#runtime/metrics-server.ts";
import { ManualClock } from "#testing/manual-clock.ts";
import { GrpcServer } from "./grpc-server.ts";
import { Hub } from "./hub.ts";
import { IdentityServer } from "./identity-service.ts";
import { MemoryStore } from "./memory-store.ts";
import { quietLogger } from "./test-operator.ts";

async function setUp() {
  const stateDir = mkdtempSync(join(tmpdir(), "weft-grpc-"));
  const clock = new ManualClock();
  const logger = quietLogger();
  const metrics = new MetricsRegistry(["weft_operator_streams", "weft_document_subscribers", "weft_ca_issued_total"]);
  const authority = await Authority.open({
    stateDir,
    trustDomain: "cluster.local",
    rootTtlMs: DEFAULT_ROOT_TTL_MS,
    issuerTtlMs: DEFAULT_ISSUER_TTL_MS,
    clock,
    randomBytes,
  });
  const hub = new Hub({ plan: () => null, revision: () => 0n, clock, random: () => 0, logger, metrics, onProgress: () => {} });
  const identity = new IdentityServer({
    authority,
    attestor: new MemoryStore(),
    clock,
    logger,
    metrics,
    settings: () => ({ ttlMs: 60_000, renewAfterPercent: 50 }),
  });
  const server = await GrpcServer.start({ authority, identity, hub, clock, random: () => 0, logger, ttlMs: () => 60_000 }, "127.0.0.1", 0);
  return { clock, server, remove: () => rmSync(stateDir, { recursive: true, force: true }) };
}

function serverCertificate(port: number, options: { minVersion?: "TLSv1.2"; maxVersion?: "TLSv1.2" } = {}): Promise<PeerCertificate> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", ALPNProtocols: ["h2"], rejectUnauthorized: false, ...options }, () => {
      resolve(socket.getPeerCertificate());
      socket.destroy();
    });
    socket.once("error", reject);
  });
}

describe("the gRPC server", () => {
  it("renews its own certificate at half of its life, without a new port", async () => {
    const { clock, server, remove } = await setUp();
    const first = await serverCertificate(server.port);
    clock.advance(29_000);
    assert.equal((await serverCertificate(server.port)).serialNumber, first.serialNumber);
    clock.advance(1000);
    let now = first;
    for (let tries = 0; tries < 200 && now.serialNumber === first.serialNumber; tries++) now = await serverCertificate(server.port);
    assert.notEqual(now.serialNumber, first.serialNumber);
    const closed = server.close(0);
    clock.advance(200);
    await closed;
    remove();
  });

  it("speaks TLS 1.3 only", async () => {
    const { clock, server, remove } = await setUp();
    await assert.rejects(serverCertificate(server.port, { minVersion: "TLSv1.2", maxVersion: "TLSv1.2" }));
    const closed = server.close(0);
    clock.advance(200);
    await closed;
    remove();
  });

  it("closes also when somebody connected and never said a word", async () => {
    const { clock, server, remove } = await setUp();
    const socket = connectTcp(server.port, "127.0.0.1");
    await new Promise((resolve) => socket.once("connect", resolve));
    await serverCertificate(server.port);
    const closed = server.close(1000);
    clock.advance(1200);
    await closed;
    socket.destroy();
    remove();
  });

  it("ends connections that nobody uses", async () => {
    const { clock, server, remove } = await setUp();
    const session = connectHttp2(`https://127.0.0.1:${server.port}`, { rejectUnauthorized: false });
    session.on("error", () => {});
    const gone = new Promise<void>((resolve) => session.once("close", resolve));
    await new Promise((resolve) => session.once("connect", resolve));
    const answered = (): Promise<unknown> => new Promise((resolve) => (session.destroyed ? resolve(null) : session.ping(resolve)));
    for (let pings = 0; pings < 20 && !session.destroyed; pings++) {
      clock.advance(15_000);
      await Promise.race([gone, answered()]);
    }
    await gone;
    const closed = server.close(0);
    clock.advance(200);
    await closed;
    remove();
  });
});
