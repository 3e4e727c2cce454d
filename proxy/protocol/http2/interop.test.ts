import assert from "node:assert/strict";
import { once } from "node:events";
import http2 from "node:http2";
import net, { type AddressInfo } from "node:net";
import type { ServerEvents, ServerStream } from "../stream.ts";
import { Http2Connection, type Http2Options } from "./connection.ts";
import { Recorder } from "./testdata/harness.ts";

/** The least shell: one write a turn, back-pressure by the socket, an end by either side. */
function attach(
  socket: net.Socket,
  role: "client" | "server",
  more: Partial<Http2Options> = {},
): { connection: Http2Connection; errors: string[] } {
  const errors: string[] = [];
  let scheduled = false;
  const flush = () => {
    scheduled = false;
    for (let out = connection.take(); out !== null; out = connection.take()) if (!socket.write(out)) break;
  };
  const schedule = () => {
    if (!scheduled) setImmediate(flush);
    scheduled = true;
  };
  const connection = new Http2Connection({
    role,
    dialect: "rfc",
    nowMs: () => performance.now(),
    onOutput: schedule,
    onError: (code, detail) => {
      if (code !== 0) errors.push(`${code} ${detail}`);
      flush();
      socket.end();
    },
    onGoaway: () => {},
    ...more,
  });
  socket.on("data", (chunk: Buffer) => connection.receive(chunk));
  socket.on("drain", schedule);
  socket.on("error", () => {});
  socket.on("close", () => connection.eof("closed"));
  connection.start();
  return { connection, errors };
}

const BODY = Buffer.from(Array.from({ length: 700_001 }, (_, i) => (i * 7) & 0xff));

describe("our server, asked by node:http2", () => {
  let server: net.Server;
  let session: http2.ClientHttp2Session;
  const errors: string[][] = [];

  const echo = (stream: ServerStream): ServerEvents => ({
    onHead(head, end) {
      stream.writeHead(
        {
          status: 200,
          reason: "OK",
          version: 20,
          fields: ["x-target", head.target, "x-latin", "caf\xe9", ...head.fields.slice(0, 20)],
          contentLength: -1,
        },
        end,
      );
    },
    onInterim() {},
    onData(chunk, end) {
      stream.writeData(chunk, false);
      stream.credit(chunk.length);
      if (end) stream.writeTrailers(["x-trailer", "done"]);
    },
    onTrailers() {},
    onReset() {},
    onWritable() {},
  });

  beforeAll(async () => {
    server = net.createServer((socket) => {
      errors.push(attach(socket, "server", { onStream: echo }).errors);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    session = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  });
  afterAll(async () => {
    session.close();
    await new Promise((done) => server.close(done));
  });

  it("echoes fields and bodies of many streams at once, with trailers", async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        const request = session.request({ ":method": "POST", ":path": `/${i}`, "x-a": "1", cookie: "a=b" }, { endStream: false });
        const chunks: Buffer[] = [];
        let head: http2.IncomingHttpHeaders = {};
        let trailers: http2.IncomingHttpHeaders = {};
        request.on("response", (fields) => (head = fields));
        request.on("trailers", (fields) => (trailers = fields));
        request.on("data", (chunk: Buffer) => chunks.push(chunk));
        request.end(BODY.subarray(0, i * 35_000));
        await once(request, "close");
        return { head, trailers, body: Buffer.concat(chunks) };
      }),
    );
    answers.forEach(({ head, trailers, body }, i) => {
      assert.equal(head[":status"], 200);
      assert.equal(head["x-target"], `/${i}`);
      assert.equal(head["x-a"], "1");
      assert.equal(head["x-latin"], "caf\xe9");
      assert.equal(trailers["x-trailer"], "done");
      assert.ok(body.equals(BODY.subarray(0, i * 35_000)), `body ${i}`);
    });
    assert.deepEqual(errors.flat(), []);
  }, 20_000);

  it("survives requests that are cancelled, and a PING", async () => {
    const request = session.request({ ":method": "POST", ":path": "/x" }, { endStream: false });
    request.on("error", () => {});
    request.write("abc");
    request.close(http2.constants.NGHTTP2_CANCEL);
    await once(request, "close");
    await new Promise<void>((done, failed) => session.ping((error) => (error === null ? done() : failed(error))));
    assert.deepEqual(errors.flat(), []);
  }, 20_000);

  it("reads and writes every octet that a value may have", async () => {
    const octets = [9, ...Array.from({ length: 95 }, (_, i) => i + 0x20), ...Array.from({ length: 128 }, (_, i) => i + 0x80)];
    const value = `[${String.fromCharCode(...octets)}]`;
    const request = session.request({ ":path": "/", "x-octets": value });
    const [head] = (await once(request, "response")) as [http2.IncomingHttpHeaders];
    request.resume();
    assert.equal(head["x-octets"], value);
  }, 20_000);
});

describe("our client, asking node:http2", () => {
  let server: http2.Http2Server;
  let socket: net.Socket;
  let client: ReturnType<typeof attach>;

  beforeAll(async () => {
    server = http2.createServer();
    server.on("stream", (stream: http2.ServerHttp2Stream, fields) => {
      stream.on("error", () => {});
      stream.additionalHeaders({ ":status": 103, link: "</a>" });
      stream.respond({ ":status": 200, "x-path": fields[":path"] ?? "", "x-a": fields["x-a"] ?? "" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "x-trailer": "done" }));
      stream.pipe(stream);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    socket = net.connect((server.address() as AddressInfo).port, "127.0.0.1");
    client = attach(socket, "client");
  });
  afterAll(async () => {
    client.connection.goaway();
    await new Promise((done) => server.close(done));
  });

  it("gets bodies back whole over many streams, with interim responses and trailers", async () => {
    const logs = await Promise.all(
      Array.from({ length: 20 }, (_, i) => {
        const recorder = new Recorder();
        const stream = client.connection.request(recorder)!;
        const body = BODY.subarray(0, i * 35_000);
        const got: Buffer[] = [];
        const finished = new Promise<{ log: string[]; equal: boolean }>((done) => {
          const keep = recorder.onData.bind(recorder);
          recorder.onData = (chunk, end) => {
            got.push(chunk);
            keep(Buffer.alloc(0), end);
            stream.credit(chunk.length);
          };
          const trailers = recorder.onTrailers.bind(recorder);
          recorder.onTrailers = (fields) => {
            trailers(fields);
            done({ log: recorder.log, equal: Buffer.concat(got).equals(body) });
          };
          recorder.onReset = (reason, detail) => done({ log: [`reset ${reason} ${detail}`], equal: false });
        });
        stream.writeHead(
          { method: "POST", target: `/${i}`, authority: "a", version: 20, fields: ["X-A", String(i)], contentLength: body.length },
          false,
        );
        stream.writeData(body, true);
        return finished;
      }),
    );
    logs.forEach(({ log, equal }, i) => {
      assert.ok(equal, `body ${i}: ${log.join(" | ")}`);
      assert.equal(log[0], "interim 103");
      assert.match(log[1]!, new RegExp(`"x-path","/${i}","x-a","${i}"`));
      assert.equal(log.at(-1), 'trailers ["x-trailer","done"]');
    });
    assert.deepEqual(client.errors, []);
    assert.equal(client.connection.activeStreams, 0);
  }, 20_000);
});
