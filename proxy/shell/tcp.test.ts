import assert from "node:assert/strict";
import { once } from "node:events";
import net, { type Socket } from "node:net";
import { BufferAccount } from "../stack/turn.ts";
import { type PumpResult, pump } from "./tcp.ts";

/** client ⇄ pump ⇄ server, on loopback. */
async function chain(): Promise<{ client: Socket; server: Socket; result: Promise<PumpResult>; account: BufferAccount; close(): void }> {
  const account = new BufferAccount();
  const back = net.createServer({ allowHalfOpen: true });
  back.listen(0, "127.0.0.1");
  await once(back, "listening");
  const front = net.createServer({ allowHalfOpen: true, pauseOnConnect: true });
  front.listen(0, "127.0.0.1");
  await once(front, "listening");
  const result = new Promise<PumpResult>((resolve) => {
    front.on("connection", (socket: Socket) => {
      const upstream = net.connect({ port: (back.address() as net.AddressInfo).port, host: "127.0.0.1", allowHalfOpen: true });
      pump(socket, upstream, { account, sent: { inc() {} }, received: { inc() {} } }, resolve);
    });
  });
  const accepted = once(back, "connection") as Promise<[Socket]>;
  const client = net.connect({ port: (front.address() as net.AddressInfo).port, host: "127.0.0.1", allowHalfOpen: true });
  const [server] = await accepted;
  client.on("error", () => {});
  server.on("error", () => {});
  return { client, server, result, account, close: () => [back, front].map((s) => s.close()) };
}

/** Everything until the peer's half-close; the socket stays open for writing. */
function text(socket: Socket): Promise<string> {
  let all = "";
  socket.on("data", (chunk) => {
    all += chunk;
  });
  return once(socket, "end").then(() => all);
}

describe("a TCP connection through the proxy", () => {
  it("passes a half-close on and still carries the other direction", async () => {
    const c = await chain();
    c.client.end("question");
    const asked = await text(c.server);
    c.server.end("answer");
    const answered = await text(c.client);
    const result = await c.result;
    c.close();
    assert.equal(asked, "question");
    assert.equal(answered, "answer");
    assert.deepEqual(result, { sent: 8, received: 6, error: "" });
  });
  it("breaks the other side when one side breaks", async () => {
    const c = await chain();
    const failed = new Promise<NodeJS.ErrnoException>((resolve) => {
      c.client.once("error", resolve);
    });
    c.server.resetAndDestroy();
    const error = await failed;
    const result = await c.result;
    c.close();
    assert.equal(error.code, "ECONNRESET");
    assert.notEqual(result.error, "");
  });
  it("holds no more than the sockets' own marks while a reader stalls, and gives all of it back", async () => {
    const c = await chain();
    c.server.pause();
    const block = Buffer.alloc(64 * 1024, 7);
    let written = 0;
    for (let i = 0; i < 400; i++) {
      written += block.length;
      c.client.write(block);
    }
    c.client.end();
    await new Promise((resolve) => setImmediate(resolve));
    const held = c.account.held;
    let read = 0;
    c.server.on("data", (chunk: Buffer) => {
      read += chunk.length;
    });
    c.server.resume();
    await once(c.server, "end");
    c.server.end();
    const result = await c.result;
    c.close();
    assert.ok(held < 1024 * 1024, `${held} held`);
    assert.equal(read, written);
    assert.equal(result.sent, written);
    assert.equal(c.account.held, 0);
  });
});
