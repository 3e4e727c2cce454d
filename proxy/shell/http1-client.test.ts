import assert from "node:assert/strict";
import { ManualClock } from "#testing/manual-clock.ts";
import type { ResponseHead } from "../protocol/stream.ts";
import type { Upstream } from "../stack/upstream.ts";
import { Http1Pool } from "./http1-client.ts";
import { ask, type Backend, backend, closeAll, deadPort, type End, Heard, type Rig, rig, turns, until } from "./test-sockets.ts";

afterEach(closeAll);

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

interface Calls extends Rig {
  readonly pool: Http1Pool;
  readonly app: Backend;
  readonly clock: ManualClock;
  /** Opens a stream and sends a whole request on it. */
  call(method?: string, target?: string): Call;
}

class Call extends Heard<ResponseHead> {
  readonly holder: { upstream: Upstream | null } = { upstream: null };
  declare stream: ReturnType<Http1Pool["open"]>;

  get over(): boolean {
    return this.end || this.reset !== "";
  }
}

async function calls(play: (end: End) => void = () => {}, more: Partial<{ port: number; idleTimeoutMs: number }> = {}): Promise<Calls> {
  const clock = new ManualClock();
  const world = rig(clock);
  const app = await backend(play);
  const target = { address: app.host, port: more.port ?? app.port, connectTimeoutMs: 1_000, idleTimeoutMs: more.idleTimeoutMs ?? 3_000 };
  const pool = new Http1Pool(target, world.wiring);
  const call = (method = "GET", target = "/"): Call => {
    const one = new Call();
    one.stream = pool.open(one, one.holder);
    one.stream.writeHead(ask(method, target), true);
    return one;
  };
  return { ...world, pool, app, clock, call };
}

/** Answers every request as soon as its head is there. */
const serve =
  (answer: string) =>
  (end: End): void => {
    end.socket.on("data", (chunk: Buffer) => {
      const requests = chunk.toString("latin1").split("\r\n\r\n").length - 1;
      end.write(answer.repeat(requests));
    });
  };

const over = (call: Call): Promise<unknown> => until("the end of a call", () => call.over);

describe("connections to an app", () => {
  it("are used again once their response is whole", async () => {
    const c = await calls(serve(OK));
    const first = c.call();
    await over(first);
    const second = c.call();
    await over(second);
    assert.deepEqual([first.body, second.body, c.app.ends.length, second.holder.upstream?.reused, c.pool.size], ["ok", "ok", 1, true, 1]);
  });

  it("carry one request at a time", async () => {
    const c = await calls();
    const [a, b] = [c.call("GET", "/a"), c.call("GET", "/b")];
    for (const end of [await c.app.nth(1), await c.app.nth(2)]) {
      const text = await end.hears(/\r\n\r\n/);
      end.write(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n${/GET (\S+)/.exec(text)?.[1]}`);
    }
    await over(a);
    await over(b);
    assert.deepEqual([a.body, b.body, c.pool.size], ["/a", "/b", 2]);
  });

  const kept: readonly { name: string; answer: string; size: number }[] = [
    { name: "an ordinary response", answer: OK, size: 1 },
    { name: "a response that says close", answer: OK.replace("\r\n", "\r\nConnection: close\r\n"), size: 0 },
    { name: "an HTTP/1.0 response", answer: OK.replace("1.1", "1.0"), size: 0 },
    { name: "a response with more bytes behind it", answer: `${OK}HTTP/1.1`, size: 0 },
  ];
  for (const { name, answer, size } of kept) {
    it(`are ${size === 1 ? "kept" : "not kept"} after ${name}`, async () => {
      const c = await calls(serve(answer));
      const call = c.call();
      await over(call);
      await turns();
      assert.deepEqual([call.body, call.reset, c.pool.size], ["ok", "", size]);
    });
  }

  it("are closed when they were not used for the idle time, and not before", async () => {
    const c = await calls(serve(OK));
    await over(c.call());
    c.clock.advance(2_900);
    const before = c.pool.size;
    c.clock.advance(200);
    await (await c.app.nth(1)).all();
    assert.deepEqual([before, c.pool.size, c.account.held], [1, 0, 0]);
  });

  it("are forgotten when the app closes them while idle", async () => {
    const c = await calls(serve(OK));
    await over(c.call());
    c.app.ends[0]?.socket.end();
    await until("an empty pool", () => c.pool.size === 0);
    const next = c.call();
    await over(next);
    assert.deepEqual([next.body, c.app.ends.length], ["ok", 2]);
  });

  it("are closed by `close` once idle; a request in progress ends on its own", async () => {
    const c = await calls();
    const call = c.call();
    const end = await c.app.nth(1);
    await end.hears(/\r\n\r\n/);
    c.pool.close();
    end.write(OK);
    await over(call);
    await until("an empty pool", () => c.pool.size === 0);
    assert.deepEqual([call.body, call.reset], ["ok", ""]);
  });
});

describe("an app that closes a connection just as it is used again", () => {
  /** The app's close has arrived in the kernel, and nobody has read it yet. */
  async function race(method: string, how: (end: End) => void): Promise<Call> {
    const c = await calls(serve(OK));
    await over(c.call());
    // The kernel is told at the end of this turn; what it then tells us is read in the next one.
    how(c.app.ends[0]!);
    await turns(1);
    const end = performance.now() + 50;
    while (performance.now() < end);
    const call = c.call(method);
    await over(call);
    return call;
  }
  it("has surely not processed what was never handed to the kernel, whatever the method", async () => {
    const ended = await race("POST", (end) => end.socket.end());
    const broken = await race("POST", (end) => end.socket.resetAndDestroy());
    // Of the close it may have been told in time: then the request went out on a new connection.
    assert.ok(["", "refused"].includes(ended.reset), ended.reset);
    assert.ok(["", "refused"].includes(broken.reset), broken.reset);
  });

  it("may have processed what was handed over", async () => {
    const c = await calls(serve(OK));
    await over(c.call());
    const call = new Call();
    c.app.ends[0]?.socket.removeAllListeners("data");
    call.stream = c.pool.open(call, call.holder);
    call.stream.writeHead(ask("POST"), true);
    await turns(2);
    c.app.ends[0]?.socket.resetAndDestroy();
    await over(call);
    assert.deepEqual([call.reset, call.holder.upstream?.reused, call.holder.upstream?.established], ["closed", true, true]);
  });
});

describe("bytes that nobody asked for", () => {
  const POISON = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";

  it("close an idle connection", async () => {
    const c = await calls(serve(OK));
    await over(c.call());
    c.app.ends[0]?.write(POISON);
    await until("an empty pool", () => c.pool.size === 0);
    const next = c.call();
    await over(next);
    assert.equal(next.body, "ok");
  });

  it("never answer the next request, though the event loop was blocked when they came", async () => {
    const bodies: string[] = [];
    for (let i = 0; i < 10; i++) {
      const c = await calls(serve(OK));
      await over(c.call());
      c.app.ends[0]?.write(POISON);
      const end = performance.now() + 50;
      while (performance.now() < end);
      const next = c.call("POST");
      await over(next);
      bodies.push(next.reset || next.body);
      await until("an empty pool", () => c.pool.size === 0);
    }
    assert.deepEqual(bodies, Array<string>(10).fill("refused"));
  });

  it("behind a response in the same segment never answer the next request", async () => {
    const c = await calls(serve(OK + POISON));
    const first = c.call();
    await over(first);
    const next = c.call();
    await over(next);
    assert.deepEqual([first.body, next.body, c.app.ends.length], ["ok", "ok", 2]);
  });
});

describe("a connection that cannot be made", () => {
  it("because nobody listens is told as such", async () => {
    const c = await calls(() => {}, { port: await deadPort() });
    const call = c.call();
    await over(call);
    assert.deepEqual(
      [call.holder.upstream?.failure?.code, call.holder.upstream?.established, c.pool.size],
      ["WEFT_CONNECT_FAILED", false, 0],
    );
  });

  it("within the timeout is given up", async () => {
    const c = await calls();
    // Before any event of the socket is read the timeout passes.
    const call = c.call();
    c.clock.advance(1_100);
    await over(call);
    assert.deepEqual([call.holder.upstream?.failure?.code, c.pool.size, c.account.held], ["WEFT_CONNECT_TIMEOUT", 0, 0]);
  });
});

describe("a response", () => {
  it("without a length ends with the connection", async () => {
    const c = await calls((end) => {
      end.socket.once("data", () => {
        end.write("HTTP/1.1 200 OK\r\n\r\nuntil the end");
        end.socket.end();
      });
    });
    const call = c.call();
    await over(call);
    assert.deepEqual([call.body, call.reset, c.pool.size], ["until the end", "", 0]);
  });

  const cut: readonly { name: string; answer: string; reason: string }[] = [
    { name: "in its length", answer: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", reason: "closed" },
    { name: "in its chunks", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", reason: "closed" },
    { name: "in its head", answer: "HTTP/1.1 200 OK\r\nContent-", reason: "closed" },
    { name: "before its head", answer: "", reason: "closed" },
    { name: "by what is not HTTP", answer: "SSH-2.0-x\r\n", reason: "protocol" },
    {
      name: "by 101, which was not asked for",
      answer: "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
      reason: "protocol",
    },
  ];
  for (const { name, answer, reason } of cut) {
    it(`cut off ${name} is a reset, never an end`, async () => {
      const c = await calls((end) => {
        end.socket.once("data", () => {
          if (answer !== "") end.write(answer);
          end.socket.end();
        });
      });
      const call = c.call();
      await over(call);
      await until("an empty pool", () => c.pool.size === 0);
      assert.deepEqual([call.end, call.reset], [false, reason]);
    });
  }

  it("before the end of the request keeps the connection only if the request ends, too", async () => {
    const c = await calls(serve(OK));
    const started = (): Call => {
      const call = new Call();
      call.stream = c.pool.open(call, call.holder);
      call.stream.writeHead(ask("POST", "/", { contentLength: 4 }), false);
      return call;
    };
    const ends = started();
    await over(ends);
    ends.stream.writeData(Buffer.from("body"), true);
    const kept = c.pool.size;
    const reused = started();
    await over(reused);
    reused.stream.reset("cancelled");
    await until("an empty pool", () => c.pool.size === 0);
    assert.deepEqual([ends.body, kept, reused.holder.upstream?.reused], ["ok", 1, true]);
  });

  it("passes chunks, trailers and interim responses", async () => {
    const c = await calls(
      serve(
        "HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\nX-Sum: 6\r\n\r\n",
      ),
    );
    const call = c.call();
    await over(call);
    assert.deepEqual([call.interims, call.body, call.trailers, c.pool.size], [[103], "onetwo", ["X-Sum", "6"], 1]);
  });

  it("is not read ahead of its owner", async () => {
    const size = 64 * 1024 * 1024;
    const c = await calls((end) => {
      end.socket.once("data", () => {
        end.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
        for (let i = 0; i < 64; i++) end.write(Buffer.alloc(1024 * 1024, 120));
      });
    });
    const call = new Call();
    call.hold = true;
    call.stream = c.pool.open(call, call.holder);
    call.stream.writeHead(ask(), true);
    let last = -1;
    await until("standstill", async () => {
      const same = call.bytes === last && last > 0;
      last = call.bytes;
      await turns(50);
      return same;
    });
    call.hold = false;
    call.pay();
    await over(call);
    assert.ok(last <= 256 * 1024, `${last} bytes read ahead`);
    assert.deepEqual([call.bytes, c.pool.size], [size, 1]);
  });
});

describe("a request", () => {
  it("with octets that HTTP/1.1 cannot carry is not written at all", async () => {
    const c = await calls(serve(OK));
    const bad = ["x-a", "1\r\nx-b: 2"];
    const call = new Call();
    call.stream = c.pool.open(call, call.holder);
    call.stream.writeHead(ask("GET", "/", { fields: bad }), true);
    await over(call);
    await turns();
    assert.deepEqual([call.reset, c.app.ends.map((e) => e.text).join(""), c.pool.size], ["internal", "", 0]);
  });

  it("waits for room when the app does not read, and holds little", async () => {
    const c = await calls((end) => end.socket.pause());
    const call = new Call();
    call.stream = c.pool.open(call, call.holder);
    call.stream.writeHead(ask("POST", "/"), false);
    const block = Buffer.alloc(32 * 1024, 120);
    let room = true;
    let sent = 0;
    while (sent < 64 * 1024 * 1024) {
      room = call.stream.writeData(block, false);
      sent += block.length;
      if (room) continue;
      const before = call.writable;
      await turns(30);
      if (call.writable === before) break;
    }
    const held = c.account.held;
    (await c.app.nth(1)).socket.resume();
    await until("room", () => call.writable > 0 && c.account.held === 0);
    assert.ok(!room && held < 256 * 1024 && sent < 32 * 1024 * 1024, `${sent} sent, ${held} held`);
  });

  it("that is given up closes its connection, at whatever point", async () => {
    const c = await calls();
    const early = c.call();
    early.stream.reset("cancelled");
    const late = c.call();
    await (await c.app.nth(1)).hears(/\r\n\r\n/);
    late.stream.reset("cancelled");
    await until("an empty pool", () => c.pool.size === 0);
    await c.app.ends.at(-1)?.all();
    assert.deepEqual([early.over, late.over, c.account.held], [false, false, 0]);
  });
});
