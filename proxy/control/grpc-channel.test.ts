import assert from "node:assert/strict";
import { once } from "node:events";
import http2, { type Http2SecureServer, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo, Server } from "node:net";
import tls, { type TLSSocket } from "node:tls";
import { SystemClock } from "#runtime/clock.ts";
import { ManualClock } from "#testing/manual-clock.ts";
import { operatorTls } from "../identity/operator-tls.ts";
import { type Authority, makeAuthority } from "../identity/testdata/authority.ts";
import { frameMessage, MessageReader } from "../protocol/grpc/messages.ts";
import { CODE_NAMES, type GrpcStatus } from "../protocol/grpc/status.ts";
import { callOnce, explain, GrpcChannel, GrpcError } from "./grpc-channel.ts";

const OPERATOR_ID = "spiffe://cluster.local/ns/weft-system/sa/weft-operator";
const MIB = 1024 * 1024;

let authority: Authority;
let certificate: { key: string; cert: string };
const servers: { server: Server; cut: () => void }[] = [];
beforeAll(async () => {
  authority = await makeAuthority();
  const leaf = await authority.issue({ uris: [OPERATOR_ID] });
  certificate = { key: leaf.keyPem, cert: leaf.pem };
});
afterEach(async () => {
  for (const { server, cut } of servers.splice(0)) {
    const closed = once(server, "close");
    server.close();
    cut();
    await closed;
  }
});

async function listen(server: Server): Promise<number> {
  const sockets = new Set<TLSSocket>();
  server.on("secureConnection", (socket: TLSSocket) => {
    sockets.add(socket);
    socket.on("error", () => {});
  });
  servers.push({
    server,
    cut: () => {
      for (const socket of sockets) socket.destroy();
    },
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/** An HTTP/2 server of Node's, which says on each stream what `answer` says. */
async function http2Server(answer: (stream: ServerHttp2Stream, path: string, session: ServerHttp2Session) => void): Promise<number> {
  const server: Http2SecureServer = http2.createSecureServer({ ...certificate, settings: { initialWindowSize: 65_535 } });
  server.on("session", (session) => session.on("error", () => {}));
  server.on("stream", (stream: ServerHttp2Stream, headers) => {
    stream.on("error", () => {});
    answer(stream, String(headers[":path"]), stream.session as ServerHttp2Session);
  });
  return listen(server);
}

/** A TLS server that speaks no HTTP/2 but what the test has it say. */
async function rawServer(onSocket: (socket: TLSSocket) => void, ALPNProtocols: string[] | null = ["h2"]): Promise<number> {
  const server = tls.createServer({ ...certificate, ...(ALPNProtocols === null ? {} : { ALPNProtocols }) }, onSocket);
  return listen(server);
}

function options(port: number, clock = new SystemClock() as SystemClock | ManualClock, messageBytesMax = 16 * MIB) {
  const trust = operatorTls({ trustDomain: "cluster.local", rootsPem: authority.rootPem });
  return { address: `127.0.0.1:${port}`, tls: trust, clock, messageBytesMax };
}

/** A call on a channel of its own, and what it was told. */
function dial(port: number, clock?: ManualClock) {
  const channel = new GrpcChannel(options(port, clock));
  const messages: string[] = [];
  const first = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<GrpcStatus>();
  const writable = Promise.withResolvers<void>();
  const call = channel.call("/a.B/C", {
    onMessage: (message) => {
      messages.push(message.toString());
      first.resolve();
    },
    onEnd: (status) => {
      channel.close();
      ended.resolve(status);
    },
    onWritable: () => writable.resolve(),
  });
  return { channel, call, messages, first: first.promise, ended: ended.promise, writable: writable.promise };
}

const said = (status: GrpcStatus): string => `${CODE_NAMES[status.code]}: ${status.message}`;

const HEAD = { ":status": 200, "content-type": "application/grpc" };

/** Answers with messages, then with trailers. */
function answerWith(...messages: Buffer[]) {
  return (stream: ServerHttp2Stream): void => {
    stream.respond(HEAD, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end(Buffer.concat(messages.map(frameMessage)));
  };
}

async function failureOf(answer: Promise<Buffer>): Promise<GrpcError> {
  const error = await answer.then(
    () => assert.fail("it was answered"),
    (e: unknown) => e,
  );
  assert.ok(error instanceof GrpcError, String(error));
  return error;
}

describe("one call", () => {
  const ask = (port: number, bytesMax?: number) => callOnce(options(port, undefined, bytesMax), "/a.B/C", Buffer.from("ask"), 10_000);

  it("gives the one message of the answer, and leaves no connection behind", async () => {
    const gone = Promise.withResolvers<void>();
    const paths: string[] = [];
    const port = await http2Server((stream, path, session) => {
      paths.push(path);
      session.on("close", () => gone.resolve());
      answerWith(Buffer.from("answer"))(stream);
    });
    assert.equal((await ask(port)).toString(), "answer");
    await gone.promise;
    assert.deepEqual(paths, ["/a.B/C"]);
  });

  const strange: { name: string; answer: (stream: ServerHttp2Stream) => void; says: RegExp }[] = [
    { name: "no message", answer: answerWith(), says: /^UNIMPLEMENTED: not one message/ },
    { name: "two messages", answer: answerWith(Buffer.from("a"), Buffer.from("b")), says: /^UNIMPLEMENTED: not one message/ },
    { name: "a message beyond the bound", answer: answerWith(Buffer.alloc(2000)), says: /^RESOURCE_EXHAUSTED: a message of 2000 bytes/ },
    {
      name: "a web page",
      answer: (stream) => {
        stream.respond({ ":status": 404, "content-type": "text/html" });
        stream.end("<html>");
      },
      says: /^UNIMPLEMENTED: HTTP status 404/,
    },
    {
      name: "a status alone",
      answer: (stream) => stream.respond({ ...HEAD, "grpc-status": "16", "grpc-message": "no%20token" }, { endStream: true }),
      says: /^UNAUTHENTICATED: no token$/,
    },
    { name: "a reset", answer: (stream) => stream.close(http2.constants.NGHTTP2_REFUSED_STREAM), says: /^UNAVAILABLE: / },
  ];
  it.each(strange)("fails on $name", async ({ answer, says }) => {
    assert.match(said((await failureOf(ask(await http2Server(answer), 1000))).status), says);
  });

  it("tells why the connection failed, as its cause", async () => {
    const port = await http2Server(() => {});
    await new Promise<void>((resolve) => void servers.pop()!.server.close(() => resolve()));
    const error = await failureOf(ask(port));
    assert.match(error.message, /ECONNREFUSED/);
    assert.equal((error.cause as NodeJS.ErrnoException).code, "ECONNREFUSED");
  });

  it("ends at its deadline, whatever the server does until then", async () => {
    const clock = new ManualClock();
    const port = await http2Server((stream) => {
      stream.respond(HEAD);
      clock.advance(5_000);
    });
    const error = await failureOf(callOnce(options(port, clock), "/a.B/C", Buffer.from("ask"), 5_000));
    assert.deepEqual([CODE_NAMES[error.status.code], error.status.fromPeer], ["DEADLINE_EXCEEDED", false]);
  });

  it("is not made on a server that speaks no HTTP/2", async () => {
    const heard: Buffer[] = [];
    const port = await rawServer((socket) => socket.on("data", (chunk: Buffer) => heard.push(chunk)), null);
    assert.match((await failureOf(ask(port))).message, /does not speak HTTP\/2/);
    assert.deepEqual(heard, []);
  });

  it("fails, and nothing else, when the server speaks nonsense", async () => {
    const port = await rawServer((socket) => socket.write("HTTP/1.1 400 Bad Request\r\n\r\nwhat? what? what?"));
    assert.match(said((await failureOf(ask(port))).status), /^INTERNAL: /);
  });

  it("refuses an address that is none", async () => {
    await assert.rejects(callOnce({ ...options(1), address: "no address:x" }, "/a.B/C", Buffer.from("ask"), 1000), /Invalid URL/);
  });
});

describe("a stream on a channel", () => {
  it("carries large messages both ways, larger than any window", async () => {
    const port = await http2Server((stream) => {
      const reader = new MessageReader(16 * MIB);
      stream.respond(HEAD);
      stream.on("data", (chunk: Buffer) => {
        for (const message of reader.receive(chunk).messages)
          stream.write(frameMessage(Buffer.from(`${message.length} ${message.toString()}`)));
      });
    });
    const d = dial(port);
    d.call.send(Buffer.alloc(5 * MIB, "ab"));
    await d.first;
    d.call.cancel();
    d.channel.close();
    const [echoed] = d.messages;
    assert.equal(echoed, `${5 * MIB} ${"ab".repeat((5 * MIB) / 2)}`);
  });

  it("says when it is full, and when there is room again", async () => {
    const read = Promise.withResolvers<ServerHttp2Stream>();
    const port = await http2Server((stream) => {
      stream.respond(HEAD);
      read.resolve(stream);
    });
    const d = dial(port);
    assert.equal(d.call.send(Buffer.alloc(1000)), true);
    assert.equal(d.call.send(Buffer.alloc(2 * MIB)), false);
    (await read.promise).resume();
    await d.writable;
    d.call.cancel();
    d.channel.close();
  });

  it("lives through a GOAWAY until it ends itself, and takes no new call meanwhile", async () => {
    const seen = Promise.withResolvers<{ stream: ServerHttp2Stream; session: ServerHttp2Session }>();
    const port = await http2Server((stream, _, session) => {
      stream.respond(HEAD, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      seen.resolve({ stream, session });
    });
    const d = dial(port);
    const { stream, session } = await seen.promise;
    session.close();
    stream.write(frameMessage(Buffer.from("goodbye")));
    await d.first;
    const second = Promise.withResolvers<GrpcStatus>();
    d.channel.call("/a.B/C", { onMessage: () => {}, onEnd: second.resolve });
    assert.equal(said(await second.promise), "UNAVAILABLE: the connection takes no more calls");
    stream.end();
    assert.equal(said(await d.ended), "OK: ");
    assert.deepEqual(d.messages, ["goodbye"]);
  });

  it("tells of a server that is killed, and of one that closes", async () => {
    const how: ((session: ServerHttp2Session) => void)[] = [() => servers.at(-1)!.cut(), (session) => session.destroy()];
    const told: GrpcStatus[] = [];
    for (const end of how) {
      const port = await http2Server((stream, _, session) => {
        stream.respond(HEAD);
        stream.write(frameMessage(Buffer.from("a")));
        stream.once("data", () => end(session));
      });
      const d = dial(port);
      await d.first;
      d.call.send(Buffer.from("die"));
      told.push(await d.ended);
    }
    assert.equal(said(told[0]!), "UNAVAILABLE: the operator closed the connection");
    assert.match(said(told[1]!), /^(UNAVAILABLE|CANCELLED): /);
  });

  it("gives a silent server 10 s, a PING, and 3 s more", async () => {
    const clock = new ManualClock();
    let bytes = 0;
    const preface = Promise.withResolvers<void>();
    const more = Promise.withResolvers<void>();
    const port = await rawServer((socket) => {
      socket.on("data", (chunk: Buffer) => {
        if (bytes > 0) more.resolve();
        bytes += chunk.length;
        preface.resolve();
      });
    });
    const d = dial(port, clock);
    await preface.promise;
    clock.advance(10_000);
    await more.promise;
    clock.advance(2_999);
    assert.equal(d.channel.failure, null);
    clock.advance(1);
    assert.match(said(await d.ended), /^UNAVAILABLE: 127\.0\.0\.1:\d+ answered nothing for 13 s$/);
  });

  it("gives a connection that is not made 13 s as well", async () => {
    const clock = new ManualClock();
    const d = dial(await rawServer(() => {}), clock);
    clock.advance(13_000);
    assert.match(said(await d.ended), /answered nothing for 13 s$/);
  });

  it("takes any byte for life", async () => {
    const clock = new ManualClock();
    const pinged = Promise.withResolvers<void>();
    const port = await http2Server((stream, _, session) => {
      stream.respond(HEAD);
      stream.write(frameMessage(Buffer.from("one")));
      session.on("ping", () => {
        stream.write(frameMessage(Buffer.from("two")));
        pinged.resolve();
      });
    });
    const d = dial(port, clock);
    await d.first;
    clock.advance(10_000);
    await pinged.promise;
    while (d.messages.length < 2) await new Promise((resolve) => setImmediate(resolve));
    clock.advance(12_999);
    assert.equal(d.channel.failure, null);
    d.call.cancel();
    d.channel.close();
    assert.ok(clock.pending <= 1, "only the timer of the last words is armed");
  });
});

describe("what a status says to people", () => {
  it("is its message, or the name of its code", () => {
    assert.equal(explain({ code: 14, message: "later", fromPeer: true, fields: [] }), "later");
    assert.equal(explain({ code: 14, message: "", fromPeer: true, fields: [] }), "UNAVAILABLE");
  });
});
