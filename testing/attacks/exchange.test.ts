import assert from "node:assert/strict";
import { Pair, until } from "./pair.ts";

let pair: Pair;
beforeAll(async () => {
  pair = await Pair.start();
}, 60_000);
afterAll(() => pair.stop());
beforeEach(() => pair.app.reset());
afterEach(async () => {
  assert.deepEqual(await pair.pidsNow(), pair.pids);
  for (const way of pair.ways) assert.equal(await pair.victim(way, `/victim-${way.name}`), `<GET /victim-${way.name} 0>`);
});

const body = (text: string): string => text.split("\r\n\r\n").at(-1) ?? "";

describe("a request that asks for another protocol", () => {
  const upgrades = [
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
    "Upgrade: x",
  ];
  for (const upgrade of upgrades) {
    it(`is passed on as an ordinary one, and what follows it stays HTTP: ${upgrade.split("\r\n").find((l) => l.startsWith("Upgrade"))}`, async () => {
      for (const way of pair.ways) {
        pair.app.reset();
        const c = pair.client(way);
        c.write(`GET /ws HTTP/1.1\r\nHost: app\r\n${upgrade}\r\n\r\nGET /behind HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n`);
        await c.all();
        assert.deepEqual([c.statuses, pair.app.seen.map((s) => s.url), pair.app.refused], [[200, 200], ["/ws", "/behind"], []]);
        const names = pair.app.seen[0]!.fields.filter((_, i) => i % 2 === 0).map((n) => n.toLowerCase());
        assert.deepEqual(
          names.filter((n) => ["upgrade", "connection", "http2-settings"].includes(n)),
          [],
        );
      }
    });
  }

  for (const status of ["101 Switching Protocols", "200 OK", "426 Upgrade Required"]) {
    it(`is never half switched by ${status}`, async () => {
      for (const way of pair.ways) {
        pair.app.plays.set("/ws", (_q, response, socket) => {
          if (status.startsWith("101")) socket.write(`HTTP/1.1 ${status}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nframes`);
          else response.writeHead(Number(status.slice(0, 3)), { upgrade: "websocket", connection: "upgrade" }).end("over");
        });
        const c = pair.client(way);
        c.write(
          "GET /ws HTTP/1.1\r\nHost: app\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nGET /behind HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n",
        );
        await c.all();
        assert.deepEqual(c.statuses, [status.startsWith("101") ? 502 : Number(status.slice(0, 3)), 200]);
        assert.doesNotMatch(c.text, /frames/);
      }
    });
  }
});

describe("Expect: 100-continue", () => {
  const head = (path: string, more = ""): string =>
    `POST ${path} HTTP/1.1\r\nHost: app\r\nContent-Length: 5\r\nExpect: 100-continue\r\n${more}\r\n`;

  it("is answered by the app's own 100, and the body follows", async () => {
    for (const way of pair.ways) {
      pair.app.plays.set("/continue", (request, response) => {
        response.writeContinue();
        request.on("data", () => {});
        request.on("end", () => response.end("thanks"));
      });
      const c = pair.client(way).write(head("/continue"));
      await c.hears(/100 Continue\r\n\r\n/);
      c.write("hello");
      await c.hears(/thanks/);
      c.write("GET /next HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n");
      await c.all();
      assert.deepEqual(c.statuses, [100, 200, 200]);
    }
  });

  for (const status of [417, 200, 413]) {
    it(`and an early ${status} ends the connection, at both sides: what is sent all the same is nobody's request`, async () => {
      for (const way of pair.ways) {
        pair.app.reset();
        pair.app.plays.set("/early", (_request, response) => response.writeHead(status, { "content-length": 5 }).end("early"));
        const c = pair.client(way).write(head("/early"));
        await c.hears(/early$/);
        c.write("helloGET /smuggled HTTP/1.1\r\nHost: app\r\n\r\n");
        await c.all();
        assert.deepEqual([c.statuses, pair.app.seen], [[status], []]);
        assert.doesNotMatch(pair.app.raw, /smuggled/);
      }
    });
  }

  it("with the body at once is one request, and 100 twice is passed twice", async () => {
    for (const way of pair.ways) {
      pair.app.plays.set("/twice", (request, response, socket) => {
        socket.write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
        request.on("data", () => {});
        request.on("end", () => response.end("thanks"));
      });
      const c = pair.client(way).write(`${head("/twice", "Connection: close\r\n")}hello`);
      await c.all();
      assert.deepEqual([c.statuses, body(c.text)], [[100, 100, 200], "thanks"]);
    }
  });

  it("of another kind is refused", async () => {
    for (const way of pair.ways) {
      const c = pair.client(way).write("POST / HTTP/1.1\r\nHost: app\r\nContent-Length: 5\r\nExpect: money\r\n\r\n");
      await c.all();
      assert.deepEqual([c.statuses, pair.app.seen], [[417], []]);
    }
  });
});

describe("messages at the edges of HTTP/1", () => {
  it("pass with a head just below 64 KiB, both ways", async () => {
    for (const way of pair.ways) {
      pair.app.plays.set("/big", (request, response) => {
        response.setHeader("x-got", String(request.rawHeaders.join("").length > 60_000));
        response.setHeader("x-big", "b".repeat(60_000));
        response.end("big");
      });
      const c = pair.client(way).write(`GET /big HTTP/1.1\r\nHost: app\r\nX: ${"a".repeat(64_000)}\r\nConnection: close\r\n\r\n`);
      await c.all();
      assert.deepEqual([c.statuses, /x-got: true/.test(c.text), c.text.length > 60_000], [[200], true, true]);
    }
  });

  it("are refused by 431 above it", async () => {
    for (const way of pair.ways) {
      const c = pair.client(way).write(`GET /big HTTP/1.1\r\nHost: app\r\nX: ${"a".repeat(70_000)}\r\n\r\n`);
      await c.all();
      assert.deepEqual([c.statuses, pair.app.seen], [[431], []]);
    }
  });

  it("carry trailers, but none that would be a field of the mesh or of framing", async () => {
    for (const way of pair.ways) {
      pair.app.reset();
      const c = pair.client(way);
      c.write(
        "POST /t HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 3\r\nweft-peer: forged\r\nContent-Length: 7\r\n\r\n",
      );
      await c.all();
      const [one] = pair.app.seen;
      const ok = c.statuses.join() === "400" ? one === undefined : one?.body === "abc" && one.trailers.join() === "X-Sum,3";
      assert.ok(ok, JSON.stringify([c.statuses, one]));
    }
  });

  it("answer HTTP/1.0 without a host, and to the end of the connection", async () => {
    const c = pair.client(pair.outbound).write("GET /old HTTP/1.0\r\n\r\n");
    const text = await c.all();
    const [one] = pair.app.seen;
    assert.match(text, /^HTTP\/1.1 200 .*\r\n\r\n<GET \/old 0>$/s);
    assert.doesNotMatch(text, /chunked/i);
    assert.ok((one?.fields.findIndex((f) => f.toLowerCase() === "host") ?? -1) >= 0);
  });

  it("have no body where none may be: HEAD, 204, 304", async () => {
    for (const way of pair.ways) {
      pair.app.plays.set("/none", (_q, r) => r.writeHead(204).end());
      pair.app.plays.set("/same", (_q, r) => r.writeHead(304, { etag: '"a"' }).end());
      const c = pair.client(way);
      c.write(
        "HEAD /head HTTP/1.1\r\nHost: app\r\n\r\nGET /none HTTP/1.1\r\nHost: app\r\n\r\nGET /same HTTP/1.1\r\nHost: app\r\n\r\nGET /last HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n",
      );
      await c.all();
      assert.deepEqual([c.statuses, body(c.text)], [[200, 204, 304, 200], "<GET /last 0>"]);
      assert.deepEqual(
        c.text
          .split("\r\n\r\n")
          .slice(1, 4)
          .map((t) => t.startsWith("HTTP/1.1 ")),
        [true, true, true],
      );
    }
  });

  it("say nothing of the mesh that a client made up", async () => {
    for (const way of pair.ways) {
      pair.app.reset();
      const forged = [
        "x-forwarded-client-cert",
        "X_Forwarded_Client_Cert",
        "X-FORWARDED_CLIENT-CERT",
        "weft-peer",
        "Weft_Peer",
        "WEFT-ERROR",
        "x-forwarded-for",
        "Forwarded",
        "X-Real-IP",
        "x-envoy-peer-metadata",
        "l5d-client-id",
      ];
      const c = pair.client(way);
      c.write(
        `GET /who HTTP/1.1\r\nHost: app\r\nConnection: close, x-forwarded-client-cert, x-forwarded-for\r\n${forged.map((n) => `${n}: forged`).join("\r\n")}\r\n\r\n`,
      );
      await c.all();
      const [one] = pair.app.seen;
      assert.deepEqual(
        one?.fields.filter((f) => f.includes("forged")),
        [],
      );
      const cert = one?.fields[one.fields.indexOf("x-forwarded-client-cert") + 1];
      const id = "spiffe://cluster.local/ns/shop/sa/default";
      assert.equal(one?.fields.includes("x-forwarded-client-cert") ? cert : null, way === pair.outbound ? `By=${id};URI=${id}` : null);
    }
  });

  it("do not tell the client what an app made up about the mesh", async () => {
    for (const way of pair.ways) {
      pair.app.plays.set("/lies", (_q, r) =>
        r.writeHead(200, { "weft-error": "WEFT_NO_ROUTE", Weft_Error: "x", connection: "x-hop", "x-hop": "1", "x-end": "1" }).end("ok"),
      );
      const c = pair.client(way).write("GET /lies HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n");
      await c.all();
      assert.match(c.text, /x-end: 1/);
      assert.doesNotMatch(c.text, /weft|x-hop/i);
    }
  });
});

describe("a client that breaks off", () => {
  it("500 times in the middle of a download leaves no connection behind", async () => {
    const chunk = Buffer.alloc(64 * 1024, 120);
    pair.app.plays.set("/endless", (_q, response) => {
      const more = (): void => {
        while (!response.destroyed && response.write(chunk));
      };
      response.on("drain", more);
      response.writeHead(200);
      more();
    });
    const quiet = async (): Promise<readonly number[]> => [
      ...pair.sockets(),
      await pair.metric("app", "weft_upstream_open_connections"),
      await pair.metric("client", "weft_upstream_open_connections"),
    ];
    const before = await quiet();
    for (let round = 0; round < 25; round++) {
      await Promise.all(
        Array.from({ length: 20 }, async (_, i) => {
          const c = pair.client(i % 2 === 0 ? pair.outbound : pair.inbound).write("GET /endless HTTP/1.1\r\nHost: app\r\n\r\n");
          await until("some bytes", () => c.bytes > 20_000 || c.over);
          if (i % 4 < 2) c.socket.resetAndDestroy();
          else c.socket.destroy();
        }),
      );
    }
    await until("nothing left", async () => {
      const now = await quiet();
      return now.every((n, i) => n <= before[i]! + 2);
    });
    assert.equal([...pair.app.sockets].filter((s) => !s.destroyed).length <= 20, true);
  }, 30_000);
});

describe("a slow reader", () => {
  it("of an upload of up to 1 GiB makes neither proxy hold more than 64 MiB", async () => {
    const block = Buffer.alloc(1024 * 1024, 120);
    let read = 0;
    let slow = true;
    pair.app.plays.set("/upload", (request, response) => {
      request.on("data", (chunk: Buffer) => {
        read += chunk.length;
        if (slow && read % 7 === 0) {
          request.pause();
          setImmediate(() => request.resume());
        }
      });
      request.on("end", () => response.end("all"));
    });
    const before = pair.rssAnon();
    const most = [0, 0];
    const c = pair.client(pair.outbound);
    const total = 1024 * 1024 * 1024;
    c.write(`POST /upload HTTP/1.1\r\nHost: app\r\nContent-Length: ${total}\r\n\r\n`);
    let sent = 0;
    const send = (): void => {
      while (sent < total && !c.over) {
        sent += block.length;
        if (!c.socket.write(block)) return;
      }
    };
    c.socket.on("drain", send);
    const app = await until("the app's connection", () => [...pair.app.sockets].find((s) => s.bytesRead > 0 && !s.destroyed));
    // Not a byte is read for a while, then as fast as it goes, for a bounded time.
    app.pause();
    send();
    const look = (): void => {
      for (const [i, n] of pair.rssAnon().entries()) most[i] = Math.max(most[i]!, n - before[i]!);
    };
    const stalled = performance.now() + 1_500;
    await until("the stall", () => {
      look();
      return performance.now() > stalled;
    });
    const sentInStall = sent;
    slow = false;
    app.resume();
    const end = performance.now() + 3_000;
    await until("some of the rest", () => {
      look();
      return performance.now() > end || read >= total;
    });
    c.socket.destroy();
    assert.ok(sentInStall < 64 * 1024 * 1024, `${sentInStall} bytes were taken from the client while nobody read`);
    assert.ok(read > 32 * 1024 * 1024, `${read} bytes arrived`);
    assert.ok(Math.max(...most) < 64 * 1024 * 1024, `grew by ${most.join(" and ")} bytes`);
  }, 30_000);
});
