import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import tls from "node:tls";
import fc from "fast-check";
import { CLIENT_HELLO_BYTES_MAX, readClientHello } from "./clienthello.ts";

/** What Node's own client sends first. */
async function capture(options: tls.ConnectionOptions): Promise<Buffer> {
  const server = net.createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = tls.connect({
    port: (server.address() as net.AddressInfo).port,
    host: "127.0.0.1",
    rejectUnauthorized: false,
    ...options,
  });
  client.on("error", () => {});
  const [socket] = (await once(server, "connection")) as [net.Socket];
  const [bytes] = (await once(socket, "data")) as [Buffer];
  client.destroy();
  socket.destroy();
  server.close();
  return bytes;
}

/** The same handshake message in records of `size` bytes. */
function fragment(record: Buffer, size: number): Buffer {
  const body = record.subarray(5);
  const out: Buffer[] = [];
  for (let at = 0; at < body.length; at += size) {
    const part = body.subarray(at, at + size);
    out.push(Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part);
  }
  return Buffer.concat(out);
}

describe("a ClientHello", () => {
  let hello: Buffer;
  const expected = { kind: "hello", serverName: "pod.weft.cluster.local", alpn: ["weft-h2/1", "http/1.1"] };
  beforeAll(async () => {
    hello = await capture({ servername: "pod.weft.cluster.local", ALPNProtocols: ["weft-h2/1", "http/1.1"] });
  });

  it("tells server name and ALPN", () => {
    assert.deepEqual(readClientHello(hello), expected);
  });
  it("asks for more at every cut", () => {
    for (let n = 0; n < hello.length; n++) assert.equal(readClientHello(hello.subarray(0, n)).kind, "more", `at ${n}`);
  });
  it("reads the same in records of any size", () => {
    for (const size of [1, 2, 3, 5, 100, 517]) assert.deepEqual(readClientHello(fragment(hello, size)), expected, `records of ${size}`);
  });
  it("has neither when the client sends neither", async () => {
    assert.deepEqual(readClientHello(await capture({})), { kind: "hello", serverName: "", alpn: [] });
  });
  it("is not what plaintext is taken for", () => {
    for (const text of ["GET / HTTP/1.1\r\n", "\r\n", "PRI * HTTP/2.0", "\x00\x00", "\x16\x02"])
      assert.equal(readClientHello(Buffer.from(text, "latin1")).kind, "not-tls");
  });
  it("is refused beyond 16 KiB, however it is cut", () => {
    const long = Buffer.concat([Buffer.from([22, 3, 1, 0x40, 0]), Buffer.from([1, 0, 0x50, 0]), Buffer.alloc(0x4000 - 4)]);
    assert.equal(readClientHello(long).kind, "malformed");
    const tiny = Buffer.concat([Buffer.from([22, 3, 1, 0, 1, 1]), ...Array.from({ length: 4000 }, () => Buffer.from([22, 3, 1, 0, 1, 0]))]);
    assert.equal(readClientHello(tiny.subarray(0, CLIENT_HELLO_BYTES_MAX + 100)).kind !== "hello", true);
  });
  it("never throws on mutated bytes", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(hello.length - 1), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 8 }),
        (edits) => {
          const bytes = Buffer.from(hello);
          for (const [at, value] of edits) bytes[at] = value;
          assert.ok(["more", "hello", "malformed", "not-tls"].includes(readClientHello(bytes).kind));
        },
      ),
      { seed: 11, numRuns: 5000 },
    );
  });
});
