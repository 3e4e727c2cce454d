import assert from "node:assert/strict";
import { ManualClock } from "#testing/manual-clock.ts";
import type { ProxyError } from "../stack/errors.ts";
import { Http1ServerConnection } from "./http1-server.ts";
import { backend, closeAll, dial, type End, reply, type Rig, rig, Served, turns, until } from "./test-sockets.ts";

afterEach(closeAll);

interface Serving extends Rig {
  readonly client: End;
  readonly served: Served[];
  readonly errors: ProxyError[];
  readonly clock: ManualClock;
  readonly connection: Http1ServerConnection;
  /** Waits for the nth request, counted from 1. */
  nth(n: number): Promise<Served>;
}

/** One client and the connection that serves it, with time standing still. `play` sees each request when its head is here. */
async function serving(play: (served: Served) => void = () => {}): Promise<Serving> {
  const clock = new ManualClock();
  const world = rig(clock);
  const served: Served[] = [];
  const errors: ProxyError[] = [];
  const server = await backend();
  server.server.removeAllListeners("connection");
  const accepted = new Promise<Http1ServerConnection>((resolve) => {
    server.server.on("connection", (socket) => {
      const connection = new Http1ServerConnection(socket, world.wiring, {
        onStream: (stream) => {
          const one = new Served(stream);
          served.push(one);
          one.onEvent = () => {
            one.onEvent = () => {};
            play(one);
          };
          return one;
        },
        onProtocolError: (error) => errors.push(error),
        onClose: () => {},
      });
      resolve(connection);
    });
  });
  const client = await dial(server.port);
  const connection = await accepted;
  return { ...world, client, served, errors, clock, connection, nth: (n) => until(`request ${n}`, () => served[n - 1]) };
}

const echo = (served: Served): void => served.answer(200, `<${served.head?.target}>`);

describe("an HTTP/1.1 connection of a client", () => {
  it("answers requests one after the other", async () => {
    const s = await serving(echo);
    s.client.write("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
    await s.client.hears(/<\/a>$/);
    s.client.write("GET /b HTTP/1.1\r\nHost: x\r\n\r\n");
    const text = await s.client.hears(/<\/b>$/);
    assert.equal(text, "HTTP/1.1 200 \r\ncontent-length: 4\r\n\r\n</a>HTTP/1.1 200 \r\ncontent-length: 4\r\n\r\n</b>");
    assert.equal(s.connection.idle, true);
  });

  it("answers pipelined requests in their order, the next one begun when the last is answered", async () => {
    const s = await serving();
    s.client.write("GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n");
    const first = await s.nth(1);
    await turns();
    const meanwhile = s.served.length;
    first.answer(200, "one");
    (await s.nth(2)).answer(200, "two");
    const text = await s.client.hears(/two$/);
    assert.equal(meanwhile, 1);
    assert.match(text, /one.*two$/s);
  });

  it("answers everything that was sent before a half-close, then closes", async () => {
    const s = await serving();
    s.client.write("GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n");
    s.client.socket.end();
    (await s.nth(1)).answer(200, "one");
    (await s.nth(2)).answer(200, "two");
    assert.match(await s.client.gone(), /one.*two$/s);
    assert.deepEqual([s.account.held, s.client.broken], [0, false]);
  });

  it("closes after a response to a request that says so, and reads no further one", async () => {
    const s = await serving(echo);
    s.client.write("GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n");
    const text = await s.client.all();
    await turns();
    assert.match(text, /^HTTP\/1.1 200 \r\ncontent-length: 4\r\nconnection: close\r\n\r\n<\/a>$/);
    assert.equal(s.served.length, 1);
  });

  it("is given up a second after its last response when the client does not close", async () => {
    const s = await serving(echo);
    s.client.write("GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    await s.client.all();
    const before = s.connection.socket.destroyed;
    s.clock.advance(1_100);
    assert.deepEqual([before, s.connection.socket.destroyed], [false, true]);
  });

  it("carries an HTTP/1.0 request to the end of its body, and closes", async () => {
    const s = await serving((served) => {
      served.stream.writeHead(reply(200), false);
      served.stream.writeData(Buffer.from("until the end"), true);
    });
    s.client.write("GET /a HTTP/1.0\r\n\r\nGET /b HTTP/1.0\r\n\r\n");
    const text = await s.client.all();
    await turns();
    assert.deepEqual([text, s.served.length], ["HTTP/1.1 200 \r\nconnection: close\r\n\r\nuntil the end", 1]);
  });

  it("keeps an HTTP/1.0 connection that asks for it while lengths are known, and runs no request behind a body without one", async () => {
    const s = await serving();
    const wanted = (path: string): string => `GET ${path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n`;
    s.client.write(wanted("/a") + wanted("/b") + wanted("/c"));
    (await s.nth(1)).answer(200, "one");
    const second = await s.nth(2);
    second.stream.writeHead(reply(200), false);
    second.stream.writeData(Buffer.from("two"), true);
    const text = await s.client.all();
    await turns();
    assert.equal(
      text,
      "HTTP/1.1 200 \r\ncontent-length: 3\r\nconnection: keep-alive\r\n\r\noneHTTP/1.1 200 \r\nconnection: close\r\n\r\ntwo",
    );
    assert.equal(s.served.length, 2);
  });

  it("resets a body that broke, so that none that ends by closing looks whole", async () => {
    const s = await serving();
    s.client.write("GET / HTTP/1.0\r\n\r\n");
    const served = await s.nth(1);
    served.stream.writeHead(reply(200), false);
    served.stream.writeData(Buffer.from("half"), false);
    await s.client.hears(/half$/);
    served.stream.reset("closed");
    await s.client.gone();
    assert.deepEqual([s.client.broken, s.client.ended], [true, false]);
  });

  it("tells its stream when the client goes away", async () => {
    const s = await serving();
    s.client.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    const served = await s.nth(1);
    s.client.socket.resetAndDestroy();
    await until("the reset", () => served.reset);
    assert.equal(served.reset, "closed");
  });

  it("passes an interim response on, but not to HTTP/1.0", async () => {
    const play = (served: Served): void => {
      served.stream.writeInterim(reply(100));
      served.stream.writeInterim(reply(103, ["link", "</a>"]));
      served.answer(200, "done");
    };
    const s = await serving(play);
    s.client.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    const old = await serving(play);
    old.client.write("GET / HTTP/1.0\r\n\r\n");
    assert.match(await s.client.hears(/done$/), /^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 103 \r\nlink: <\/a>\r\n\r\nHTTP\/1.1 200 /);
    assert.match(await old.client.hears(/done$/), /^HTTP\/1.1 200 /);
  });
});

describe("a request that breaks HTTP", () => {
  const cases: readonly { name: string; send: string; status: number; code: string }[] = [
    {
      name: "both framings",
      send: "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
      status: 400,
      code: "WEFT_BAD_REQUEST",
    },
    { name: "no host", send: "GET / HTTP/1.1\r\n\r\n", status: 400, code: "WEFT_BAD_REQUEST" },
    {
      name: "a head over 64 KiB",
      send: `GET / HTTP/1.1\r\nHost: x\r\nX: ${"y".repeat(66_000)}\r\n\r\n`,
      status: 431,
      code: "WEFT_HEAD_TOO_LARGE",
    },
    { name: "a head that the client cuts off", send: "GET / HTT", status: 400, code: "WEFT_BAD_REQUEST" },
    {
      name: "a body that the client cuts off",
      send: "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
      status: 400,
      code: "WEFT_BAD_REQUEST",
    },
  ];
  for (const { name, send, status, code } of cases) {
    it(`by ${name} is answered ${status}, and the connection ends`, async () => {
      const s = await serving();
      s.client.write(send);
      if (name.includes("cuts off")) s.client.socket.end();
      const text = await s.client.all();
      assert.ok(text.startsWith(`HTTP/1.1 ${status} `) && /\r\nconnection: close\r\n/.test(text), text);
      assert.deepEqual([s.errors.map((e) => e.code), text.split("HTTP/1.1").length - 1], [[code], 1]);
      assert.deepEqual(
        s.served.map((x) => x.reset),
        s.served.map(() => "protocol"),
      );
    });
  }

  it("behind a good one is answered after it", async () => {
    const s = await serving(echo);
    s.client.write("GET /a HTTP/1.1\r\nHost: x\r\n\r\nGARBAGE\r\n\r\n");
    assert.match(await s.client.all(), /^HTTP\/1.1 200 .*<\/a>HTTP\/1.1 400 /s);
  });

  it("in its body after the response's head breaks the connection, because there is no other way to tell", async () => {
    const s = await serving();
    s.client.write("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    const served = await s.nth(1);
    served.stream.writeHead(reply(200), false);
    served.stream.writeData(Buffer.from("begun"), false);
    await s.client.hears(/begun/);
    s.client.write("nonsense\r\n");
    const text = await s.client.gone();
    assert.deepEqual([served.reset, s.client.broken, /\r\n0\r\n/.test(text)], ["protocol", true, false]);
  });
});

describe("a head that does not come to its end", () => {
  it("is waited for 30 s, however many bytes trickle in", async () => {
    const s = await serving(echo);
    s.client.write("GET / HT");
    await until("the bytes", () => s.clock.pending > 0);
    s.clock.advance(20_000);
    s.client.write("TP/1.1\r\nHost:");
    await turns();
    s.clock.advance(9_000);
    const before = s.connection.socket.destroyed;
    s.clock.advance(1_100);
    assert.deepEqual([before, s.connection.socket.destroyed, s.served.length], [false, true, 0]);
  });

  it("is not waited for between requests, nor while one is answered", async () => {
    const s = await serving();
    s.client.write("GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP");
    const first = await s.nth(1);
    s.clock.advance(300_000);
    first.answer(200, "one");
    await s.client.hears(/one$/);
    s.client.write("/1.1\r\nHost: x\r\n\r\n");
    (await s.nth(2)).answer(200, "two");
    await s.client.hears(/two$/);
    s.clock.advance(300_000);
    assert.equal(s.connection.socket.destroyed, false);
  });
});

describe("a response that comes before the end of its request", () => {
  it("is delivered though the client goes on sending, and the connection ends", async () => {
    const s = await serving();
    s.client.write(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${8 * 1024 * 1024}\r\n\r\n`);
    (await s.nth(1)).answer(413, "too much");
    const block = Buffer.alloc(256 * 1024, 120);
    for (let i = 0; i < 32 && !s.client.closed; i++) {
      if (!s.client.socket.write(block)) await until("room", () => s.client.socket.writableLength === 0 || s.client.closed);
    }
    s.client.write("GET /next HTTP/1.1\r\nHost: x\r\n\r\n");
    const text = await s.client.all();
    await turns();
    assert.match(text, /^HTTP\/1.1 413 \r\ncontent-length: 8\r\n.*too much$/s);
    assert.equal(s.served.length, 1);
  });

  it("says so in its head when it has no body", async () => {
    const s = await serving((served) => served.answer(417));
    s.client.write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert.equal(await s.client.all(), "HTTP/1.1 417 \r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
  });
});

describe("a slow reader", () => {
  it("holds back its response: little is held, and room is told when there is", async () => {
    const s = await serving();
    s.client.socket.pause();
    s.client.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    const served = await s.nth(1);
    const total = 64 * 1024 * 1024;
    const block = Buffer.alloc(64 * 1024, 120);
    served.stream.writeHead(reply(200, [], total), false);
    let sent = 0;
    let most = 0;
    const send = (): void => {
      while (sent < total) {
        sent += block.length;
        const room = served.stream.writeData(block, sent === total);
        most = Math.max(most, s.account.held);
        if (!room) return;
      }
    };
    served.onEvent = send;
    send();
    await turns();
    const stalled = sent;
    s.client.socket.resume();
    await until("all of it", () => s.client.bytes > total);
    await until("nothing held", () => s.account.held === 0);
    assert.ok(stalled < total / 2, `${stalled} taken from upstream though nobody reads`);
    assert.ok(most < 512 * 1024, `${most} bytes held`);
    assert.ok(served.writable > 0);
  });

  it("that pipelines gets no further request served until it has read", async () => {
    const s = await serving((served) => served.answer(200, "y".repeat(60_000)));
    s.client.socket.pause();
    const n = 2_000;
    s.client.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(n));
    let last = -1;
    await until("standstill", async () => {
      const same = s.served.length === last && last > 0;
      last = s.served.length;
      await turns(50);
      return same;
    });
    const held = s.account.held;
    s.clock.advance(60_000);
    assert.ok(last < n / 2 && held < 512 * 1024, `${last} served, ${held} bytes held`);
    s.client.socket.resume();
    await until("all responses", () => s.client.bytes > n * 60_000);
    assert.equal(s.served.length, n);
  });

  it("gets the end of a last response as long as it reads, then the connection goes", async () => {
    const s = await serving();
    s.client.socket.pause();
    s.client.write("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    const body = Buffer.alloc(16 * 1024 * 1024, 120);
    const served = await s.nth(1);
    served.stream.writeHead(reply(200, [], body.length), false);
    served.stream.writeData(body, true);
    await until("a full socket", () => s.connection.socket.writableLength > 0);
    s.clock.advance(20_000);
    s.client.socket.resume();
    await s.client.all();
    assert.ok(s.client.bytes > body.length && !s.client.broken, `${s.client.bytes}`);
    await until("a flushed socket", () => s.connection.socket.writableLength === 0);
    s.clock.advance(3_000);
    assert.equal(s.connection.socket.destroyed, true);
  });

  it("that reads nothing for five minutes is given up", async () => {
    const s = await serving();
    s.client.socket.pause();
    s.client.write("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    const served = await s.nth(1);
    served.stream.writeHead(reply(200), false);
    served.stream.writeData(Buffer.alloc(16 * 1024 * 1024, 120), true);
    await until("a full socket", () => s.connection.socket.writableLength > 0);
    s.clock.advance(310_000);
    assert.equal(s.connection.socket.destroyed, true);
    await until("nothing held", () => s.account.held === 0);
  });
});

describe("a slow server", () => {
  it("stops the client's body until it has passed on what it has", async () => {
    const s = await serving();
    s.client.write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 67108864\r\n\r\n");
    const served = await s.nth(1);
    served.hold = true;
    const block = Buffer.alloc(1024 * 1024, 120);
    for (let i = 0; i < 64; i++) s.client.socket.write(block);
    let last = -1;
    await until("standstill", async () => {
      const same = served.bytes === last && last > 0;
      last = served.bytes;
      await turns(50);
      return same;
    });
    served.hold = false;
    served.pay();
    await until("the end of the body", () => served.end);
    assert.ok(last <= 256 * 1024, `${last} bytes read ahead`);
    assert.equal(served.bytes, 64 * 1024 * 1024);
  });
});

describe("draining", () => {
  it("closes an idle connection at once and any other after its response", async () => {
    const idle = await serving(echo);
    idle.client.write("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
    await idle.client.hears(/<\/a>$/);
    const busy = await serving();
    busy.client.write("GET /b HTTP/1.1\r\nHost: x\r\n\r\nGET /c HTTP/1.1\r\nHost: x\r\n\r\n");
    const served = await busy.nth(1);
    idle.connection.drain();
    busy.connection.drain();
    await idle.client.all();
    const before = busy.client.ended;
    served.answer(200, "last");
    const text = await busy.client.all();
    assert.deepEqual([before, busy.served.length], [false, 1]);
    assert.match(text, /connection: close\r\n\r\nlast$/);
  });
});
