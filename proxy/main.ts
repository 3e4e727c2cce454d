import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { ProxyBootstrap } from "#api/bootstrap.ts";
import { VERSION } from "#api/version.ts";
import { workloadId } from "#api/spiffe.ts";
import { compileService } from "#mesh/decide/compile.ts";
import { SystemClock } from "#runtime/clock.ts";
import { createLogger } from "#runtime/logger.ts";
import { Shutdown } from "#runtime/shutdown.ts";
import { parseBootstrap } from "./bootstrap.ts";
import { DiscoveryClient } from "./control/client.ts";
import { DocumentStore } from "./control/documents.ts";
import { grpcDiscoveryTransport } from "./control/grpc-transport.ts";
import { fetchIdentity, IdentityError } from "./identity/client.ts";
import { Rotation } from "./identity/rotation.ts";
import { IdentityStore } from "./identity/store.ts";
import { Deadlines } from "./resilience/deadlines.ts";
import { AdminServer } from "./shell/admin.ts";
import { InboundListener } from "./shell/inbound.ts";
import { OutboundListener } from "./shell/outbound.ts";
import { ServiceTable } from "./shell/services.ts";
import { createWiring } from "./shell/socket.ts";
import type { ProxyError } from "./stack/errors.ts";
import { BufferAccount } from "./stack/turn.ts";
import { exposition } from "./telemetry/exposition.ts";
import { LimitedLogger } from "./telemetry/limited-logger.ts";
import { Registry } from "./telemetry/metrics.ts";

/** Requests in progress get so long to end after SIGTERM. */
const DRAIN_MS = 5_000;
const DRAIN_LOOK_MS = 50;

/** Runs the data plane of one pod until SIGTERM or SIGINT. Rejects when the bootstrap file is wrong or a listener cannot be had. */
export async function runProxy(bootstrapPath: string): Promise<void> {
  const bootstrap = parseBootstrap(readFileSync(bootstrapPath, "utf8"));
  if ("problem" in bootstrap) throw new Error(`${bootstrapPath}: ${bootstrap.problem}. Have the runner write it anew: restart the pod`);
  const proxy = compose(bootstrap);
  await proxy.start();
  const stop = (): void => {
    void proxy.shutdown.run().then(() => process.exit(0));
  };
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
}

/** The object graph: the only place that knows every part. */
function compose(bootstrap: ProxyBootstrap): { start(): Promise<void>; shutdown: Shutdown } {
  const clock = new SystemClock();
  const random = Math.random;
  const { workload, trustDomain } = bootstrap;
  const logger = createLogger((line) => process.stderr.write(line), clock, bootstrap.logLevel, {
    pod: `${workload.namespace}/${workload.pod}`,
  });
  const limited = new LimitedLogger(logger, clock);
  const registry = new Registry(clock);
  const account = new BufferAccount();
  const deadlines = new Deadlines(clock);
  const wiring = createWiring(deadlines, account, () => clock.monotonicMs());
  const onWriteFailed = (error: unknown): void => logger.warn("the state folder cannot be written", { error: String(error) });
  const documents = new DocumentStore({
    workload,
    trustDomain,
    proxyVersion: VERSION,
    stateDir: bootstrap.stateDir,
    clock,
    compile: compileService,
    registry,
    onWriteFailed,
  });
  const spiffeId = workloadId(trustDomain, workload.namespace, workload.serviceAccount);
  const identity = new IdentityStore({ stateDir: bootstrap.stateDir, spiffeId, trustDomain, clock, onWriteFailed });
  const rotation = new Rotation({ clock, random, renew: (done) => void renew(bootstrap, identity, clock, registry, limited).then(done) });
  const discovery = new DiscoveryClient({
    transport: grpcDiscoveryTransport({ address: bootstrap.controlPlane.address, trustDomain, identity: () => identity.current() }),
    documents,
    identity,
    clock,
    random,
    registry,
    onConnected: () => logger.info("connected to the operator"),
    onDisconnected: (reason) => limited.warn("WEFT_CONNECT_FAILED", "no discovery stream", { reason }),
  });
  const overloaded = (): boolean => {
    if (account.full) registry.counter("weft_overload_refused_total").inc();
    return account.full;
  };
  const log = (error: ProxyError, where: string): void => {
    if (limited.admit(error.code)) logger.warn(error.detail, { code: error.code, at: where });
  };
  const ownListeners = new Set(bootstrap.outbound.map((o) => `${o.address}:${o.port}`));
  const services = new ServiceTable({
    documents,
    registry,
    random,
    nowMs: wiring.nowMs,
    endpoint: {
      wiring,
      identity: () => identity.current(),
      onConnection: (service, carrier, change) => {
        registry.gauge("weft_upstream_open_connections", [carrier]).inc(change);
        const [, namespace = "", name = "", port = ""] = service.split("/");
        if (change > 0) registry.counter("weft_upstream_connections_total", [`${name}.${namespace}`, port, carrier]).inc();
      },
      isOwnListener: (name) => ownListeners.has(name),
      onHandshake: (outcome) => registry.counter("weft_tls_handshakes_total", ["outbound", outcome]).inc(),
    },
    outbound: {
      random,
      nowMs: wiring.nowMs,
      overloaded,
      log: (error, x) => log(error, `outbound ${x.request.method} ${x.request.authority}`),
    },
  });
  const outbound = bootstrap.outbound.map(
    (o) => new OutboundListener(o, { wiring, deadlines, services, registry, random, identity: () => identity.current(), log }),
  );
  let draining = false;
  const inbound = bootstrap.inbound.map(
    ({ port, appPort }) =>
      new InboundListener(
        { podAddress: bootstrap.podAddress, port, appAddress: bootstrap.appAddress, appPort },
        {
          wiring,
          deadlines,
          registry,
          identity: () => identity.current(),
          workload: () => documents.workload(),
          draining: () => draining,
          overloaded,
          log,
        },
      ),
  );
  const drain = (): void => {
    if (draining) return;
    draining = true;
    logger.info("draining: new inbound requests are refused");
    for (const l of inbound) l.drain();
  };
  documents.onTrust((trust) => {
    if (!identity.setRoots(trust.roots))
      logger.error("the trust document has no readable root; the old bundle stays", { code: "WEFT_BAD_DOCUMENT" });
  });
  documents.onWorkload((w) => {
    if (w.deleting) drain();
  });
  identity.onChange((now) => {
    services.retireOld(now.version);
    logger.info("certificate in force", { notAfter: new Date(now.notAfterMs).toISOString(), version: now.version });
  });
  const listening: string[] = [];
  const missing = (): string[] => {
    const list: string[] = [];
    if (identity.current() === null) list.push("no certificate yet");
    if (documents.workload() === null) list.push("no workload document yet");
    if (listening.length < inbound.length) list.push("inbound listeners not open yet");
    return list;
  };
  const admin = new AdminServer({
    address: bootstrap.podAddress,
    port: bootstrap.adminPort,
    socketPath: bootstrap.adminSocket,
    metrics: () => exposition(registry.collect()),
    missing,
    config: () => describe(bootstrap, identity, documents, services),
    logger,
  });
  observe(registry, account, identity);
  const shutdown = new Shutdown(clock, logger);
  const openInbound = async (): Promise<void> => {
    for (const [i, l] of inbound.entries()) {
      await l.listen();
      listening.push(String(i));
    }
    logger.info("ready");
  };
  const start = async (): Promise<void> => {
    if (identity.load()) logger.info("certificate taken up from the state folder");
    const held = documents.start();
    if (held > 0) logger.info("last-good documents taken up from the state folder", { documents: held });
    shutdown.add("documents", 1_000, () => documents.close());
    await admin.start();
    shutdown.add("admin", 500, () => admin.close());
    rotation.start(identity.lifetime());
    discovery.start();
    shutdown.add("control", 500, () => {
      rotation.stop();
      discovery.close();
    });
    for (const l of outbound) await l.listen();
    shutdown.add("outbound", 500, () => {
      for (const l of outbound) l.close();
    });
    await until(() => identity.current() !== null && documents.workload() !== null, clock);
    await openInbound();
    shutdown.add("inbound", DRAIN_MS + 500, async () => {
      drain();
      const deadline = clock.monotonicMs() + DRAIN_MS;
      await until(() => inbound.every((l) => l.busy === 0) || clock.monotonicMs() > deadline, clock);
      for (const l of inbound) l.close();
    });
  };
  return { start, shutdown };
}

/** One renewal; the token and the bundle are read each time, because both rotate. */
async function renew(bootstrap: ProxyBootstrap, identity: IdentityStore, clock: SystemClock, registry: Registry, logger: LimitedLogger) {
  try {
    const fetched = await fetchIdentity({
      address: bootstrap.controlPlane.address,
      // Both: a proxy that was down over a root rotation holds old roots, a running one newer than it was born with.
      bundlePem: `${await readFile(bootstrap.controlPlane.bundlePath, "utf8")}\n${identity.current()?.rootsPem ?? ""}`,
      trustDomain: bootstrap.trustDomain,
      token: await readFile(bootstrap.tokenPath, "utf8"),
      clock,
    });
    const refused = identity.setIdentity(fetched);
    if (refused !== null) throw new IdentityError("WEFT_IDENTITY_UNAVAILABLE", true, refused.refused);
    registry.counter("weft_certificate_renewals_total", ["ok"]).inc();
    return identity.lifetime();
  } catch (error) {
    registry.counter("weft_certificate_renewals_total", ["failed"]).inc();
    const code = error instanceof IdentityError ? error.code : "WEFT_IDENTITY_UNAVAILABLE";
    logger.error(code, "no new certificate; will ask again", { error: (error as Error).message });
    return null;
  }
}

function observe(registry: Registry, account: BufferAccount, identity: IdentityStore): void {
  registry.gauge("weft_build_info", [VERSION, process.version]).set(1);
  registry.gaugeFrom("weft_buffered_bytes", [], () => account.held);
  registry.gaugeFrom("weft_certificate_expiry_timestamp_seconds", [], () => (identity.current()?.notAfterMs ?? 0) / 1000);
  const delay = monitorEventLoopDelay({ resolution: 100 });
  delay.enable();
  registry.gaugeFrom("weft_event_loop_delay_seconds", [], () => {
    const worst = delay.max / 1e9;
    delay.reset();
    return worst;
  });
}

/** What /config shows: everything but keys. */
function describe(bootstrap: ProxyBootstrap, identity: IdentityStore, documents: DocumentStore, services: ServiceTable): unknown {
  const now = identity.current();
  return {
    version: VERSION,
    workload: bootstrap.workload,
    identity:
      now === null
        ? null
        : { spiffeId: now.spiffeId, version: now.version, notAfter: new Date(now.notAfterMs).toISOString(), bundle: now.bundleVersion },
    documents: documents.describe(),
    services: services.describe(),
  };
}

async function until(condition: () => boolean, clock: SystemClock): Promise<void> {
  while (!condition()) await new Promise<void>((resolve) => clock.after(DRAIN_LOOK_MS, resolve));
}
