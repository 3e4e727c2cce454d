import assert from "node:assert/strict";
import { Duplex } from "node:stream";
import tls from "node:tls";
import { MtlsMode, Protocol } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { ALPN, meshServerName } from "#api/ports.ts";
import { SystemClock } from "#runtime/clock.ts";
import { ManualClock } from "#testing/manual-clock.ts";
import type { LocalIdentity } from "../identity/store.ts";
import { Certificates, httpApp, idOf, Pod, type PodOptions, TRUST_DOMAIN } from "./test-inbound.ts";
import { backend, closeAll, deadPort, dial, type End, turns, until } from "./test-sockets.ts";

let certificates: Certificates;
let client: LocalIdentity;
let server: LocalIdentity;
let foreign: LocalIdentity;

beforeAll(async () => {
  certificates = await Certificates.make();
  client = await certificates.identity("client");
  server = await certificates.identity("server");
  foreign = await (await Certificates.make()).identity("client");
});
afterEach(closeAll);

const { STRICT, PERMISSIVE, DISABLED } = MtlsMode;
const { HTTP, TCP } = Protocol;
const MODES: Readonly<Record<number, string>> = { [STRICT]: "Strict", [PERMISSIVE]: "Permissive", [DISABLED]: "Disabled" };
const GET = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const SNI = meshServerName(TRUST_DOMAIN);

const pod = (more: Partial<PodOptions> = {}): Promise<Pod> => Pod.start({ identity: server, ...more });
/** What a holder of an SVID offers. */
const ours = (alpn: readonly string[] = [], identity: LocalIdentity = client): tls.ConnectionOptions => ({
  secureContext: identity.clientContext,
  servername: SNI,
  ...(alpn.length === 0 ? {} : { ALPNProtocols: [...alpn] }),
});

/** Says hello and repeats what it hears. */
const echoApp = (end: End): void => {
  end.socket.on("data", (chunk) => end.socket.write(chunk));
  end.socket.on("end", () => end.socket.end());
};

describe("plaintext", () => {
  const cases: readonly { mode: MtlsMode; protocol: Protocol; send: string; heard: RegExp; reaches: boolean }[] = [
    { mode: STRICT, protocol: HTTP, send: GET, heard: /^HTTP\/1.1 403 .*weft-error: WEFT_PLAINTEXT_REFUSED\r\n.*\n$/s, reaches: false },
    { mode: STRICT, protocol: TCP, send: "hello", heard: /^HTTP\/1.1 403 /, reaches: false },
    { mode: PERMISSIVE, protocol: HTTP, send: GET, heard: /^HTTP\/1.1 200 /, reaches: true },
    { mode: PERMISSIVE, protocol: TCP, send: "hello", heard: /^hello$/, reaches: true },
    { mode: DISABLED, protocol: HTTP, send: GET, heard: /^HTTP\/1.1 200 /, reaches: true },
    { mode: DISABLED, protocol: TCP, send: "hello", heard: /^hello$/, reaches: true },
  ];
  for (const { mode, protocol, send, heard, reaches } of cases) {
    it(`on ${protocol === HTTP ? "an HTTP" : "a TCP"} port of mode ${MODES[mode]} ${reaches ? "reaches the app" : "is refused, and the app hears nothing"}`, async () => {
      const p = await pod({ mode, protocol, app: protocol === HTTP ? httpApp : echoApp });
      const c = await dial(p.port, p.address);
      c.write(send);
      const text = await c.hears(reaches ? heard : /\n$/);
      assert.match(text, heard);
      assert.deepEqual([p.app.ends.length > 0, p.metric("weft_inbound_plaintext_connections_total")], reaches ? [true, 1] : [false, 0]);
    });
  }

  it("carries no certificate of the caller, whatever the caller says", async () => {
    const p = await pod({ mode: PERMISSIVE });
    const c = await dial(p.port, p.address);
    c.write(
      `GET / HTTP/1.1\r\nHost: x\r\nx-forwarded-client-cert: By=a;URI=${idOf("admin")}\r\nX_Forwarded_Client_Cert: b\r\nweft-peer: c\r\nWEFT_PEER: d\r\nx-keep: e\r\n\r\n`,
    );
    const text = await c.hears(/x-keep: e/);
    assert.doesNotMatch(text, /client.cert|weft.peer|admin/i);
  });
});

describe("a client of the mesh", () => {
  const alpns: readonly { protocol: Protocol; offers: readonly string[]; chosen: string | false | null }[] = [
    { protocol: HTTP, offers: [ALPN.http2], chosen: ALPN.http2 },
    { protocol: HTTP, offers: ["http/1.1"], chosen: "http/1.1" },
    { protocol: HTTP, offers: [], chosen: false },
    { protocol: HTTP, offers: [ALPN.tcp], chosen: ALPN.tcp },
    { protocol: HTTP, offers: ["http/1.1", ALPN.http2], chosen: ALPN.http2 },
    { protocol: HTTP, offers: ["spdy/3"], chosen: null },
    { protocol: TCP, offers: [ALPN.tcp], chosen: ALPN.tcp },
    { protocol: TCP, offers: [], chosen: false },
    { protocol: TCP, offers: [ALPN.http2], chosen: null },
    { protocol: TCP, offers: ["http/1.1"], chosen: null },
  ];
  for (const { protocol, offers, chosen } of alpns) {
    it(`that offers ${offers.join(", ") || "no ALPN"} to ${protocol === HTTP ? "an HTTP" : "a TCP"} port gets ${chosen === null ? "an alert" : chosen || "none"}`, async () => {
      const p = await pod({ protocol });
      const c = await p.secure(ours(offers));
      const socket = c?.socket as tls.TLSSocket | undefined;
      assert.equal(socket === undefined ? null : socket.alpnProtocol, chosen);
    });
  }

  it("that speaks HTTP/1.1 on an HTTP port reaches the app, which hears who it is", async () => {
    const p = await pod();
    const c = await p.secure(ours());
    c?.write(`GET / HTTP/1.1\r\nHost: x\r\nx-forwarded-client-cert: By=forged\r\nX-Forwarded_For: 1.2.3.4\r\n\r\n`);
    const text = (await c?.hears(/client-cert/)) ?? "";
    assert.ok(text.includes(`x-forwarded-client-cert: By=${idOf("server")};URI=${idOf("client")}\r\n`), text);
    assert.doesNotMatch(text, /forged|1\.2\.3\.4/);
  });

  it("that says weft-tcp/1 to an HTTP port is held to HTTP all the same", async () => {
    const p = await pod();
    const c = await p.secure(ours([ALPN.tcp]));
    c?.write("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert.match((await c?.hears(/\n$/)) ?? "", /^HTTP\/1.1 400 /);
    assert.equal(p.app.ends.length, 0);
  });

  it("carries bytes to a TCP port, half-closes included", async () => {
    const p = await pod({ protocol: TCP, app: echoApp });
    const c = await p.secure(ours([ALPN.tcp]));
    c?.write("some bytes");
    c?.socket.end();
    assert.equal(await c?.all(), "some bytes");
  });

  it("is let in on a Permissive port by its server name or ALPN alone, and nobody else's TLS is touched", async () => {
    const p = await pod({ mode: PERMISSIVE, protocol: TCP, app: echoApp });
    const bySni = await p.secure(ours());
    bySni?.write("one");
    const byAlpn = await p.secure({ secureContext: client.clientContext, ALPNProtocols: [ALPN.tcp] });
    byAlpn?.write("two");
    const raw = await dial(p.port, p.address);
    const hello = clientHello("example.org");
    raw.write(hello);
    await raw.hears(/./s);
    assert.deepEqual([await bySni?.hears(/one/), await byAlpn?.hears(/two/)], ["one", "two"]);
    assert.deepEqual(raw.text.slice(0, 20), hello.toString("latin1").slice(0, 20));
  });
});

/** A ClientHello as some TLS client sends it: caught before it reaches a wire. */
function clientHello(servername: string): Buffer {
  const parts: Buffer[] = [];
  const wire = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      parts.push(chunk);
      done();
    },
  });
  const socket = tls.connect({ socket: wire, servername, rejectUnauthorized: false });
  socket.on("error", () => {});
  return Buffer.concat(parts);
}

describe("a client that must not be let in", () => {
  const strangers: readonly { name: string; options: () => Promise<tls.ConnectionOptions>; code: string }[] = [
    { name: "without a certificate", options: async () => ({ servername: SNI }), code: "WEFT_TLS_FAILED" },
    { name: "with another CA's certificate", options: async () => ours([], foreign), code: "WEFT_TLS_FAILED" },
    {
      name: "with our CA's certificate without a SPIFFE id",
      options: async () => ours([], await certificates.identity("x", 1, [])),
      code: "WEFT_PEER_IDENTITY",
    },
    {
      name: "with an id of another trust domain",
      options: async () => ours([], await certificates.identity("x", 1, ["spiffe://cluster.local.evil/ns/shop/sa/client"])),
      code: "WEFT_PEER_IDENTITY",
    },
    {
      name: "with two ids",
      options: async () => ours([], await certificates.identity("x", 1, [idOf("client"), idOf("admin")])),
      code: "WEFT_PEER_IDENTITY",
    },
    {
      name: "with TLS 1.2",
      options: async () => ({ key: client.keyPem, cert: client.chainPem, servername: SNI, maxVersion: "TLSv1.2" }),
      code: "WEFT_TLS_FAILED",
    },
  ];
  for (const { name, options, code } of strangers) {
    it(`${name} is refused on every mode that knows TLS, and the app hears nothing`, async () => {
      const heard: string[] = [];
      for (const mode of [STRICT, PERMISSIVE]) {
        const p = await pod({ mode });
        const c = await p.secure(await options());
        c?.write(GET);
        await c?.gone();
        await until("a refusal", () => p.codes.length > 0);
        heard.push(`${[...new Set(p.codes)]} ${p.app.ends.length} ${c?.text ?? ""}`);
        heard.push(String(p.metric("weft_inbound_refused_connections_total")));
      }
      assert.deepEqual(heard, [`${code} 0 `, "1", `${code} 0 `, "1"]);
    });
  }

  it("that speaks someone else's TLS to a Strict port is terminated and asked for an SVID", async () => {
    const p = await pod({ mode: STRICT });
    const c = await p.secure({ servername: "example.org" });
    c?.write(GET);
    await c?.gone();
    await until("a refusal", () => p.codes.length > 0);
    assert.deepEqual([p.codes, p.app.ends.length], [["WEFT_TLS_FAILED"], 0]);
  });

  it("before there is an identity is reset", async () => {
    const p = await pod();
    p.identity = null;
    const c = await dial(p.port, p.address);
    await c.gone();
    assert.deepEqual(p.codes, ["WEFT_NOT_READY"]);
  });
});

describe("the first bytes of a connection", () => {
  it("may come one by one", async () => {
    const p = await pod();
    const { port, nth } = await backend();
    // A byte a segment, both ways, between a real client and the listener.
    const socket = tls.connect({ port, host: "127.0.0.1", rejectUnauthorized: false, ...ours() });
    socket.on("error", () => {});
    const near = await nth(1);
    const far = await dial(p.port, p.address);
    let sent = 0;
    let back = 0;
    const relay = async (): Promise<boolean> => {
      while (sent < near.text.length) {
        const byte = near.text[sent++]!;
        far.write(byte);
        if (sent < 600) await turns(1);
      }
      if (back < far.text.length) near.write(far.text.slice(back));
      back = far.text.length;
      return socket.getProtocol() !== null && socket.authorizationError !== undefined && !socket.connecting && secure;
    };
    let secure = false;
    socket.once("secureConnect", () => (secure = true));
    await until("a handshake", relay);
    let heard = "";
    socket.on("data", (chunk) => (heard += chunk));
    socket.write(GET);
    await until("a response", async () => {
      await relay();
      return heard.includes("200 OK");
    });
    assert.match(heard, /^HTTP\/1.1 200 /);
    socket.destroy();
  });

  it("are waited for 5 s, however many trickle in, then the client is let go", async () => {
    const clock = new ManualClock();
    const p = await pod({ clock });
    const silent = await dial(p.port, p.address);
    const slow = await dial(p.port, p.address);
    slow.write(clientHello(SNI).subarray(0, 50));
    await turns();
    clock.advance(4_000);
    slow.write(clientHello(SNI).subarray(50, 60));
    await turns();
    const before = [silent.closed, slow.closed];
    clock.advance(1_100);
    await silent.gone();
    await slow.gone();
    assert.deepEqual(
      [before, p.codes],
      [
        [false, false],
        ["WEFT_TLS_FAILED", "WEFT_TLS_FAILED"],
      ],
    );
    assert.equal(clock.pending, 0);
  });

  it("that are a head over one segment are plaintext from the first on", async () => {
    const p = await pod({ mode: PERMISSIVE });
    const c = await dial(p.port, p.address);
    for (const byte of GET) {
      c.write(byte);
      await turns(1);
    }
    assert.match(await c.hears(/200 OK/), /^HTTP\/1.1 200 /);
  });

  it("that never end a ClientHello are refused at its limit", async () => {
    const p = await pod();
    const c = await dial(p.port, p.address);
    const header = Buffer.from([0x16, 3, 1, 0x3f, 0xff, 1, 0, 0xff, 0xff]);
    c.write(header);
    for (let i = 0; i < 8 && !c.closed; i++) {
      c.write(Buffer.alloc(4096, 1));
      await turns();
    }
    await c.gone();
    assert.equal(p.app.ends.length, 0);
  });
});

describe("an app that speaks first", () => {
  const greeter = (end: End): void => {
    end.write("220 hello\r\n");
    echoApp(end);
  };

  it("is heard by a silent plaintext client of a Permissive TCP port", async () => {
    const p = await pod({ mode: PERMISSIVE, protocol: TCP, app: greeter, clock: new SystemClock() });
    const c = await dial(p.port, p.address);
    await c.hears(/220/);
    c.write("QUIT");
    assert.equal(await c.hears(/QUIT/), "220 hello\r\nQUIT");
    assert.equal(p.app.ends.length, 1);
  });

  it("is not heard by a TLS client before its handshake, slow as it may be", async () => {
    const p = await pod({ mode: PERMISSIVE, protocol: TCP, app: greeter });
    const c = await p.secure(ours([ALPN.tcp]));
    assert.match((await c?.hears(/220/)) ?? "", /^220 hello/);
  });

  it("is not dialled for a silent client of a Strict port", async () => {
    const clock = new ManualClock();
    const p = await pod({ mode: STRICT, protocol: TCP, app: greeter, clock });
    const c = await dial(p.port, p.address);
    await turns();
    clock.advance(1_000);
    await turns();
    assert.deepEqual([p.app.ends.length, c.text], [0, ""]);
  });

  it("and is not there lets a client that speaks later find out", async () => {
    const clock = new ManualClock();
    const p = await pod({ mode: PERMISSIVE, protocol: TCP, appPort: await deadPort(), clock });
    const c = await dial(p.port, p.address);
    await turns();
    clock.advance(100);
    await turns();
    c.write("hello");
    await c.gone();
    assert.equal(c.text, "");
  });
});

describe("an app that is not there", () => {
  it("is told to HTTP clients by 503, and named as the app in the log", async () => {
    const p = await pod({ mode: PERMISSIVE, appPort: await deadPort() });
    const c = await dial(p.port, p.address);
    c.write(GET);
    assert.match(await c.hears(/\n$/), /^HTTP\/1.1 503 .*weft-error: /s);
    assert.deepEqual(p.codes, ["WEFT_APP_UNREACHABLE"]);
  });

  it("closes a TCP connection", async () => {
    const p = await pod({ mode: DISABLED, protocol: TCP, appPort: await deadPort() });
    const c = await dial(p.port, p.address);
    c.write("hello");
    await c.gone();
    assert.deepEqual([c.text, p.codes], ["", ["WEFT_APP_UNREACHABLE"]]);
  });
});

describe("a client in plaintext cannot reach past its own request", () => {
  const sends: readonly { name: string; send: string; heard: RegExp }[] = [
    {
      name: "Connection names fields that inbound sets",
      send: "Connection: x-forwarded-client-cert, x-forwarded-for, x-keep\r\nx-keep: 1\r\n",
      heard: /x-forwarded-for: 127/,
    },
    { name: "Connection names Host", send: "Connection: host\r\n", heard: /^HTTP\/1.1 (400|200 .*host: x)/s },
    { name: "Connection names Content-Length", send: "Connection: content-length\r\nContent-Length: 0\r\n", heard: /^HTTP\/1.1 (400|200)/ },
    { name: "a value with a bare CR", send: "x-a: 1\rx-b: 2\r\n", heard: /^HTTP\/1.1 400/ },
    { name: "a value with a bare LF", send: "x-a: 1\nx-b: 2\r\n", heard: /^HTTP\/1.1 400/ },
    { name: "a value with a NUL", send: "x-a: 1\0\r\n", heard: /^HTTP\/1.1 400/ },
    { name: "a folded line", send: "x-a: 1\r\n weft-peer: 2\r\n", heard: /^HTTP\/1.1 400/ },
    { name: "a name with a space before its colon", send: "x-a : 1\r\n", heard: /^HTTP\/1.1 400/ },
  ];
  for (const { name, send, heard } of sends) {
    it(`when ${name}`, async () => {
      const p = await pod({ mode: PERMISSIVE });
      const c = await dial(p.port, p.address);
      c.write(`GET / HTTP/1.1\r\nHost: x\r\n${send}\r\n`);
      const text = await c.hears(/\n$/);
      assert.match(text, heard);
      assert.doesNotMatch(text, /weft-peer|x-keep|x-b/);
      assert.ok(p.app.ends.every((e) => (e.text.match(/HTTP\/1.1\r\n/g) ?? []).length === 1));
    });
  }
});
