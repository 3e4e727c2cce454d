import assert from "node:assert/strict";
import tls from "node:tls";
import { ALPN } from "#api/ports.ts";
import { ManualClock } from "#testing/manual-clock.ts";
import type { LocalIdentity } from "../identity/store.ts";
import { CarrierPool } from "./carrier-pool.ts";
import { callOver, Certificates, idOf, Pod } from "./test-inbound.ts";
import { ask, backend, closeAll, deadPort, End, rig, track, turns, until } from "./test-sockets.ts";

let certificates: Certificates;
let client: LocalIdentity;
let server: LocalIdentity;

beforeAll(async () => {
  certificates = await Certificates.make();
  client = await certificates.identity("client");
  server = await certificates.identity("server");
});
afterEach(closeAll);

const over = (call: { over: boolean }): Promise<unknown> => until("the end of a call", () => call.over);

describe("carriers to an endpoint", () => {
  it("carry requests to the app, which hears who calls", async () => {
    const pod = await Pod.start({ identity: server });
    const pool = pod.carriers(() => client, idOf("server"));
    const first = callOver(pool, ask("GET", "/a", { fields: ["X-Case", "kept"] }));
    const second = callOver(pool, ask("GET", "/b"));
    await over(first);
    await over(second);
    assert.match(first.body, /^GET \/a HTTP\/1.1\r\nhost: app\r\n/);
    assert.ok(first.body.includes(`x-forwarded-client-cert: By=${idOf("server")};URI=${idOf("client")}\r\n`), first.body);
    assert.ok(first.body.includes("X-Case: kept\r\n"), first.body);
    await until("a carrier that has served", () => first.holder.upstream?.reused);
    assert.equal(pool.size, 1);
  });

  it("are opened further at 100 streams, up to four", async () => {
    const pod = await Pod.start({ identity: server, app: () => {} });
    const pool = pod.carriers(() => client, idOf("server"));
    const calls = [callOver(pool, ask())];
    await until("a connection", () => calls[0]?.holder.upstream?.established);
    const sizes: number[] = [];
    for (const n of [99, 1, 300]) {
      for (let i = 0; i < n; i++) calls.push(callOver(pool, ask()));
      await until("connections", () => calls.every((c) => c.holder.upstream?.established));
      sizes.push(pool.size);
    }
    for (let i = 0; i < 50; i++) calls.push(callOver(pool, ask()));
    sizes.push(pool.size);
    assert.deepEqual([sizes, calls.filter((c) => c.over).length], [[1, 2, 4, 4], 0]);
  });

  it("that carry a large body leave small requests to another", async () => {
    const pod = await Pod.start({ identity: server });
    const pool = pod.carriers(() => client, idOf("server"));
    const first = callOver(pool, ask());
    await over(first);
    const { upstream } = first.holder;
    if (upstream !== null) upstream.bulk++;
    await over(callOver(pool, ask()));
    const during = pool.size;
    if (upstream !== null) upstream.bulk--;
    const last = callOver(pool, ask());
    await over(last);
    assert.deepEqual([during, pool.size], [2, 2]);
  });

  it("are closed after the idle time, not while a stream is open", async () => {
    const clock = new ManualClock();
    const pod = await Pod.start({ identity: server, clock, app: () => {} });
    const pool = pod.carriers(() => client, idOf("server"), { idleTimeoutMs: 5_000 });
    const call = callOver(pool, ask());
    await (await pod.app.nth(1)).hears(/\r\n\r\n/);
    clock.advance(6_000);
    const during = pool.size;
    pod.app.ends[0]?.write("HTTP/1.1 204 No Content\r\n\r\n");
    await over(call);
    clock.advance(5_100);
    await until("no carrier at either end", () => pool.size === 0 && pod.listener.busy === 0);
    assert.deepEqual([during, call.head?.status], [1, 204]);
  });

  it("are none while this workload has no certificate", async () => {
    const pod = await Pod.start({ identity: server });
    const call = callOver(
      pod.carriers(() => null, idOf("server")),
      ask(),
    );
    assert.equal(call.refusal?.code, "WEFT_NOT_READY");
  });
});

describe("an endpoint that is not who the document says", () => {
  const failed = async (pool: CarrierPool): Promise<readonly unknown[]> => {
    const call = callOver(pool, ask());
    await over(call);
    await until("an empty pool", () => pool.size === 0);
    return [call.holder.upstream?.failure?.code, call.holder.upstream?.established, call.head];
  };

  it("is refused when its SPIFFE id is another workload's, and not a byte reaches the app", async () => {
    const pod = await Pod.start({ identity: server });
    const result = await failed(pod.carriers(() => client, idOf("other")));
    assert.deepEqual([result, pod.app.ends.length], [["WEFT_PEER_IDENTITY", false, null], 0]);
  });

  it("is refused when its id only begins like it", async () => {
    const pod = await Pod.start({ identity: await certificates.identity("server2") });
    assert.deepEqual(await failed(pod.carriers(() => client, idOf("server"))), ["WEFT_PEER_IDENTITY", false, null]);
  });

  it("is refused when it shows two ids", async () => {
    const pod = await Pod.start({ identity: await certificates.identity("server", 1, [idOf("server"), idOf("other")]) });
    assert.deepEqual(await failed(pod.carriers(() => client, idOf("server"))), ["WEFT_PEER_IDENTITY", false, null]);
  });

  it("is refused when another CA signed its certificate", async () => {
    const foreign = await Certificates.make();
    const pod = await Pod.start({ identity: await foreign.identity("server") });
    assert.deepEqual(await failed(pod.carriers(() => client, idOf("server"))), ["WEFT_TLS_FAILED", false, null]);
  });

  it("is refused when it does not speak our carrier", async () => {
    const { key, cert } = server.tlsOptions;
    const plain = tls.createServer({ key, cert, ALPNProtocols: ["http/1.1"] }).listen(0, "127.0.0.1");
    track({ destroy: () => plain.close() });
    await until("a port", () => plain.listening);
    const { wiring } = rig(new ManualClock());
    const target = {
      address: "127.0.0.1",
      port: (plain.address() as { port: number }).port,
      spiffeId: idOf("server"),
      connectTimeoutMs: 5_000,
      idleTimeoutMs: 1_000,
    };
    assert.deepEqual(await failed(new CarrierPool(target, wiring, () => client)), ["WEFT_TLS_FAILED", false, null]);
  });

  it("is told from one that nobody listens on, and from one that accepts and says nothing", async () => {
    const clock = new ManualClock();
    const { wiring } = rig(clock);
    const silent = await backend();
    const pools = [await deadPort(), silent.port].map(
      (port) =>
        new CarrierPool(
          { address: "127.0.0.1", port, spiffeId: idOf("server"), connectTimeoutMs: 1_000, idleTimeoutMs: 1_000 },
          wiring,
          () => client,
        ),
    );
    const calls = pools.map((pool) => callOver(pool, ask()));
    await silent.nth(1);
    await until("the first end", () => calls[0]?.over);
    const before = calls[1]?.over;
    clock.advance(1_100);
    await until("the second end", () => calls[1]?.over);
    assert.deepEqual(
      [before, calls.map((c) => c.holder.upstream?.failure?.code), calls.map((c) => c.reset)],
      [false, ["WEFT_CONNECT_FAILED", "WEFT_CONNECT_TIMEOUT"], ["refused", "refused"]],
    );
  });
});

describe("an inbound that drains", () => {
  it("ends requests in progress, refuses new ones so that they go elsewhere, and closes", async () => {
    const pod = await Pod.start({ identity: server, app: () => {} });
    const pool = pod.carriers(() => client, idOf("server"));
    const call = callOver(pool, ask());
    await (await pod.app.nth(1)).hears(/\r\n\r\n/);
    pod.drain();
    const racing = Array.from({ length: 20 }, () => callOver(pool, ask("POST")));
    for (const r of racing) await over(r);
    const late = callOver(pool, ask("POST"));
    await over(late);
    const busy = pod.listener.busy;
    pod.app.ends[0]?.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast");
    await over(call);
    await until("no carrier left", () => pod.listener.busy === 0);
    assert.deepEqual([call.body, call.reset, late.reset, busy > 0], ["last", "", "refused", true]);
    assert.deepEqual([...new Set(racing.map((r) => r.reset))], ["refused"]);
  });

  it("loses no request that is on its way, though none was in progress when it began", async () => {
    const pod = await Pod.start({ identity: server });
    const pool = pod.carriers(() => client, idOf("server"));
    await over(callOver(pool, ask()));
    const calls = [callOver(pool, ask("POST")), callOver(pool, ask("POST"))];
    pod.drain();
    for (const call of calls) await over(call);
    await until("no carrier left", () => pod.listener.busy === 0);
    assert.deepEqual(
      calls.map((c) => c.reset === "refused" || c.end),
      [true, true],
    );
  });
});

describe("a new identity", () => {
  it("takes new requests to new carriers, and the old ones end with their requests", async () => {
    const pod = await Pod.start({ identity: server, app: () => {} });
    const held = { identity: client };
    const pool = pod.carriers(() => held.identity, idOf("server"));
    const old = callOver(pool, ask());
    await (await pod.app.nth(1)).hears(/\r\n\r\n/);
    held.identity = await certificates.identity("client", 2);
    pool.retireOld(2);
    const young = callOver(pool, ask());
    await (await pod.app.nth(2)).hears(/\r\n\r\n/);
    const apart = old.holder.upstream !== young.holder.upstream;
    for (const end of pod.app.ends) end.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    await over(old);
    await over(young);
    await until("one carrier", () => pod.listener.busy === 1);
    assert.deepEqual([apart, old.body, old.reset, young.body, pool.size], [true, "ok", "", "ok", 1]);
  });

  it("fails no request, however often it changes under load", async () => {
    const pod = await Pod.start({ identity: server });
    const identities = await Promise.all([1, 2, 3, 4, 5].map((version) => certificates.identity("client", version)));
    const servers = await Promise.all([1, 2, 3, 4, 5].map((version) => certificates.identity("server", version)));
    let at = 0;
    const pool = pod.carriers(() => identities[at]!, idOf("server"));
    const calls: ReturnType<typeof callOver>[] = [];
    for (let round = 0; round < 25; round++) {
      for (let i = 0; i < 10; i++) calls.push(callOver(pool, ask("POST")));
      if (round % 5 === 4) {
        at = Math.min(4, at + 1);
        pod.identity = servers[at]!;
        pool.retireOld(at + 1);
      }
      await turns(3);
    }
    for (const call of calls) await over(call);
    assert.deepEqual([calls.filter((c) => c.head?.status !== 200).map((c) => c.reset), calls.length], [[], 250]);
  });
});

describe("a peer that is gone without a word", () => {
  it("is noticed by a PING after 10 s of silence and given up 3 s later", async () => {
    const clock = new ManualClock();
    const { wiring, account } = rig(clock);
    const { key, cert, ca } = server.tlsOptions;
    // Finishes its handshake and never says a word again.
    const heard: End[] = [];
    const mute = tls.createServer({ key, cert, ca, requestCert: true, ALPNProtocols: [ALPN.http2] }, (socket) =>
      heard.push(new End(socket)),
    );
    track({ destroy: () => mute.close() });
    mute.listen(0, "127.0.0.1");
    await until("a port", () => mute.listening);
    const target = {
      address: "127.0.0.1",
      port: (mute.address() as { port: number }).port,
      spiffeId: idOf("server"),
      connectTimeoutMs: 5_000,
      idleTimeoutMs: 60_000,
    };
    const pool = new CarrierPool(target, wiring, () => client);
    const call = callOver(pool, ask());
    await until("the request", () => (heard[0]?.bytes ?? 0) > 50);
    const sent = heard[0]!.bytes;
    // The first look takes note of what was heard so far: nothing.
    clock.advance(10_100);
    await until("a PING", () => heard[0]!.bytes > sent);
    const before = call.over;
    clock.advance(3_100);
    await over(call);
    await until("an empty pool", () => pool.size === 0);
    assert.deepEqual([before, call.reset, /answered nothing/.test(call.detail), account.held], [false, "closed", true, 0]);
  });
});
