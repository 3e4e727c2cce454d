import assert from "node:assert/strict";
import type { AddressInfo } from "node:net";
import tls from "node:tls";
import { Protocol } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { peerId } from "../identity/peer.ts";
import type { LocalIdentity } from "../identity/store.ts";
import { OutboundListener } from "./outbound.ts";
import { Certificates, httpApp, idOf, Pod } from "./test-inbound.ts";
import { Services } from "./test-services.ts";
import { type Backend, backend, closeAll, deadPort, dial, type End, track, until } from "./test-sockets.ts";

let client: LocalIdentity;
let server: LocalIdentity;
let certificates: Certificates;
beforeAll(async () => {
  certificates = await Certificates.make();
  client = await certificates.identity("client");
  server = await certificates.identity("server");
});
afterEach(closeAll);

const GET = "GET /x HTTP/1.1\r\nHost: x\r\n\r\n";

class Sidecar extends Services {
  port = 0;
  listener!: OutboundListener;

  static async start(): Promise<Sidecar> {
    const s = new Sidecar();
    s.port = await deadPort();
    s.identity = client;
    s.listener = new OutboundListener(
      { address: "127.0.0.1", port: s.port, service: { namespace: "shop", name: "app", port: 80 } },
      {
        wiring: s.wiring,
        deadlines: s.deadlines,
        services: s.table,
        registry: s.registry,
        identity: () => s.identity,
        random: () => 0,
        log: (error) => s.errors.push(error),
      },
    );
    await s.listener.listen();
    track({ destroy: () => s.listener.close() });
    return s;
  }

  get codes(): string[] {
    return this.errors.map((e) => e.code);
  }
}

/** What `openssl s_server -Verify` or nginx with an SVID is to us. */
async function foreignServer(alpn: readonly string[], serve: (socket: tls.TLSSocket) => void): Promise<{ port: number; peers: string[] }> {
  const peers: string[] = [];
  const listener = tls.createServer({
    ...server.tlsOptions,
    requestCert: true,
    rejectUnauthorized: true,
    ...(alpn.length === 0 ? {} : { ALPNProtocols: [...alpn] }),
  });
  listener.on("secureConnection", (socket) => {
    socket.on("error", () => {});
    peers.push(peerId(socket) ?? "");
    serve(socket);
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  track({ destroy: () => listener.close() });
  return { port: (listener.address() as AddressInfo).port, peers };
}

const at = (b: Backend): { address: string; port: number } => ({ address: b.host, port: b.port });
const shout = (end: End): void => {
  end.socket.on("data", (chunk: Buffer) => end.write(chunk.toString("latin1").toUpperCase()));
  end.socket.on("end", () => end.socket.end());
};

describe("a connection to a service", () => {
  it("waits for the documents of a service that is used for the first time", async () => {
    const s = await Sidecar.start();
    const app = await backend(httpApp);
    const c = await dial(s.port);
    c.write(GET);
    await until("somebody who waits", () => s.documents.waiting);
    s.documents.endpoints(at(app));
    s.documents.service();
    assert.match(await c.hears(/200 OK/), /^HTTP\/1.1 200 /);
  });

  const absent: readonly { name: string; say: (s: Sidecar) => void; code: string }[] = [
    { name: "a service that does not exist", say: (s) => s.documents.gone(), code: "WEFT_UNKNOWN_SERVICE" },
    { name: "a service of which nothing was heard", say: (s) => s.documents.silence(), code: "WEFT_NOT_READY" },
  ];
  for (const { name, say, code } of absent) {
    it(`is told of ${name}, and ended`, async () => {
      const s = await Sidecar.start();
      const c = await dial(s.port);
      c.write(GET);
      await until("somebody who waits", () => s.documents.waiting);
      say(s);
      const text = await c.gone();
      assert.match(text, new RegExp(`^HTTP/1.1 503 .*connection: close\r\n.*weft-error: ${code}\r\n`, "s"));
      assert.deepEqual(s.codes, [code]);
    });
  }

  it("that went away while it waited is let go once the answer is there", async () => {
    const s = await Sidecar.start();
    const app = await backend(httpApp);
    const c = await dial(s.port);
    await until("somebody who waits", () => s.documents.waiting);
    c.socket.resetAndDestroy();
    s.documents.endpoints(at(app));
    s.documents.service();
    await until("no connection", () => new Promise<boolean>((resolve) => s.listener["server"].getConnections((_e, n) => resolve(n === 0))));
    assert.deepEqual([app.ends.length, s.account.held], [0, 0]);
  });
});

describe("a request to a service", () => {
  it("goes to a sidecar over a carrier, and elsewhere in plaintext", async () => {
    const s = await Sidecar.start();
    const pod = await Pod.start({ identity: server });
    s.documents.endpoints({ address: pod.address, port: pod.port, spiffeId: idOf("server") });
    s.documents.service();
    const meshed = await dial(s.port);
    meshed.write(GET);
    await meshed.hears(/client-cert/);
    const plain = await backend(httpApp);
    s.documents.endpoints(at(plain));
    meshed.write(GET);
    await until("the second response", () => meshed.text.split("HTTP/1.1 200").length === 3);
    assert.match(meshed.text, new RegExp(`URI=${idOf("client")}`));
    assert.doesNotMatch(plain.ends[0]?.text ?? "", /client-cert/);
    assert.equal(plain.ends.length, 1);
  });

  it("is tried at another endpoint when one is down, whatever its method", async () => {
    const s = await Sidecar.start();
    const app = await backend(httpApp);
    s.documents.endpoints({ address: "127.0.0.1", port: await deadPort() }, at(app));
    s.documents.service();
    const c = await dial(s.port);
    for (let i = 0; i < 6; i++) {
      c.write("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nX-N: 1\r\n\r\n");
      await until(`response ${i + 1}`, () => c.text.split("HTTP/1.1 200").length === i + 2);
    }
    assert.deepEqual(s.codes, []);
  });

  for (const alpn of [[], ["http/1.1"]]) {
    it(`goes over mTLS in HTTP/1.1 to a server with an SVID that is no sidecar and ${alpn.length === 0 ? "knows no ALPN" : "chooses http/1.1"}`, async () => {
      const s = await Sidecar.start();
      const foreign = await foreignServer(alpn, (socket) => {
        socket.on("data", (chunk: Buffer) => {
          const method = chunk.toString("latin1").split(" ")[0];
          socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${method?.length}\r\n\r\n${method}`);
        });
      });
      s.documents.endpoints({ address: "127.0.0.1", port: foreign.port, spiffeId: idOf("server") });
      s.documents.service();
      const c = await dial(s.port);
      c.write("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
      await c.hears(/\r\n\r\nPOST$/);
      c.write(GET);
      assert.match(await c.hears(/\r\n\r\nGET$/), /^HTTP\/1.1 200 /);
      assert.deepEqual([foreign.peers, s.codes], [[idOf("client"), idOf("client")].slice(0, foreign.peers.length), []]);
    });
  }

  it("whose only endpoint is the listener it came by is answered 508 instead of going round for ever", async () => {
    const s = await Sidecar.start();
    s.ownListeners.add(`127.0.0.1:${s.port}`);
    s.documents.endpoints({ address: "127.0.0.1", port: s.port });
    s.documents.service();
    const c = await dial(s.port);
    c.write(GET);
    assert.match(await c.hears(/WEFT_LOOP: .*\n/), /^HTTP\/1.1 508 /);
    assert.deepEqual(s.codes, ["WEFT_LOOP"]);
  });

  it("to an endpoint that is somebody else is answered 503 and named in the log", async () => {
    const s = await Sidecar.start();
    const pod = await Pod.start({ identity: await certificates.identity("other") });
    s.documents.endpoints({ address: pod.address, port: pod.port, spiffeId: idOf("server") });
    s.documents.service();
    const c = await dial(s.port);
    c.write(GET);
    await until("the wait before a further try", () => s.connections === 0 && s.clock.pending > 0);
    await until("an answer", () => {
      s.clock.advance(40);
      return c.text !== "";
    });
    assert.match(c.text, /^HTTP\/1.1 503 .*weft-error: WEFT_PEER_IDENTITY/s);
    assert.deepEqual([s.codes, pod.app.ends.length], [["WEFT_PEER_IDENTITY"], 0]);
  });
});

describe("a TCP service", () => {
  const tcp = { protocol: Protocol.TCP };

  it("is joined byte by byte, half-closes included, over mTLS and without", async () => {
    const s = await Sidecar.start();
    const pod = await Pod.start({ identity: server, protocol: Protocol.TCP, app: shout });
    const plain = await backend(shout);
    s.documents.service(tcp);
    const heard: string[] = [];
    for (const endpoint of [{ address: pod.address, port: pod.port, spiffeId: idOf("server") }, at(plain)]) {
      s.documents.endpoints(endpoint);
      const c = await dial(s.port);
      c.write("hello");
      await c.hears(/HELLO/);
      c.write(" world");
      c.socket.end();
      heard.push(await c.gone());
    }
    assert.deepEqual(heard, ["HELLO WORLD", "HELLO WORLD"]);
  });

  it("is tried at another endpoint when one is down or is somebody else", async () => {
    const s = await Sidecar.start();
    const other = await Pod.start({ identity: await certificates.identity("other"), protocol: Protocol.TCP });
    const app = await backend(shout);
    s.documents.service(tcp);
    s.documents.endpoints(
      { address: "127.0.0.1", port: await deadPort() },
      { address: other.address, port: other.port, spiffeId: idOf("server") },
      at(app),
    );
    for (let i = 0; i < 3; i++) {
      const c = await dial(s.port);
      c.write("x");
      assert.equal(await c.hears(/X/), "X");
    }
    assert.equal(other.app.ends.length, 0);
  });

  it("whose only endpoint is the listener it came by resets its client", async () => {
    const s = await Sidecar.start();
    s.ownListeners.add(`127.0.0.1:${s.port}`);
    s.documents.service(tcp);
    s.documents.endpoints({ address: "127.0.0.1", port: s.port });
    const c = await dial(s.port);
    await c.gone();
    assert.deepEqual([s.codes, c.text], [["WEFT_LOOP"], ""]);
  });

  it("is joined to a server with an SVID that is no sidecar and knows no ALPN", async () => {
    const s = await Sidecar.start();
    const foreign = await foreignServer([], (socket) => void socket.on("data", (chunk: Buffer) => socket.write(chunk)));
    s.documents.service(tcp);
    s.documents.endpoints({ address: "127.0.0.1", port: foreign.port, spiffeId: idOf("server") });
    const c = await dial(s.port);
    c.write("hello");
    assert.equal(await c.hears(/hello/), "hello");
    assert.deepEqual(foreign.peers, [idOf("client")]);
  });

  it("without an endpoint resets its client", async () => {
    const s = await Sidecar.start();
    s.documents.service(tcp);
    s.documents.endpoints();
    const c = await dial(s.port);
    await c.gone();
    assert.deepEqual([s.codes, c.text], [["WEFT_NO_ENDPOINT"], ""]);
  });

  it("gives an endpoint that says nothing its connect timeout, then goes to another", async () => {
    const s = await Sidecar.start();
    const silent = await backend();
    const app = await backend(shout);
    s.documents.service(tcp);
    s.documents.endpoints({ ...at(silent), spiffeId: idOf("server") }, at(app));
    const [one, two] = [await dial(s.port), await dial(s.port)];
    for (const c of [one, two]) c.write("x");
    await silent.nth(1);
    await until("the other's answer", () => one.text + two.text === "X");
    s.clock.advance(1_100);
    await until("both answers", () => one.text + two.text === "XX");
    assert.deepEqual([silent.ends.length, s.codes], [1, []]);
  });
});
