import assert from "node:assert/strict";
import { type Address, Pair } from "./pair.ts";

let pair: Pair;
beforeAll(async () => {
  pair = await Pair.start();
}, 60_000);
afterAll(() => pair.stop());
beforeEach(() => pair.app.reset());
afterEach(async () => {
  // Whatever was sent: both proxies are the processes they were, and the next client gets its own answer.
  assert.deepEqual(await pair.pidsNow(), pair.pids);
  for (const way of pair.ways) assert.equal(await pair.victim(way, `/victim-${way.name}`), `<GET /victim-${way.name} 0>`);
});

/** What came of one attack: statuses told to the client, and what the app, read by Node's parser, took for requests. */
interface Outcome {
  readonly way: string;
  readonly statuses: readonly number[];
  readonly seen: readonly string[];
}

async function attack(way: Address, bytes: string): Promise<Outcome> {
  const before = pair.app.seen.length;
  const c = pair.client(way);
  c.write(bytes);
  c.socket.end();
  await c.all();
  return { way: way.name, statuses: c.statuses, seen: pair.app.seen.slice(before).map((s) => `${s.method} ${s.url} ${s.body.length}`) };
}

const refused = (o: Outcome): boolean => o.seen.length === 0 && o.statuses.length === 1 && [400, 431, 501].includes(o.statuses[0]!);
const SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: app\r\n\r\n";

describe("a request of which two parsers could see two ends", () => {
  const heads: readonly string[] = [
    "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: 5",
    "Content-Length: 5\r\nContent-Length: 6",
    "Content-Length: 5, 6",
    "Content-Length: +5",
    "Content-Length: 0x5",
    "Content-Length: -5",
    "Content-Length: 5 5",
    "Content-Length: 5.0",
    "Content-Length: 5e0",
    "Content-Length:",
    "Content-Length: \x0b5",
    "Content-Length: 99999999999999999999999",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: chunked;q=1",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunkedx",
    'Transfer-Encoding: "chunked"',
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Transfer-Encoding: chunked\x0b",
    "Transfer-Encoding:\x0bchunked",
    "Transfer-Encoding:",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding\t: chunked",
    " Transfer-Encoding: chunked",
    "X: y\r\n Transfer-Encoding: chunked",
    "X: y\rTransfer-Encoding: chunked",
    "X: y\nTransfer-Encoding: chunked",
    "Transfer_Encoding: chunked\r\nTransfer-Encoding: x",
    "Content-Length : 5",
    "Content_Length: 5\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
  ];
  for (const head of heads) {
    it(`is refused: ${JSON.stringify(head)}`, async () => {
      for (const way of pair.ways) {
        const o = await attack(way, `POST /first HTTP/1.1\r\nHost: app\r\n${head}\r\n\r\n0\r\n\r\n${SMUGGLED}`);
        assert.ok(refused(o), JSON.stringify(o));
      }
    });
  }

  it("is refused in HTTP/1.0 with a transfer coding", async () => {
    for (const way of pair.ways) {
      const o = await attack(
        way,
        `POST /first HTTP/1.0\r\nHost: app\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${SMUGGLED}`,
      );
      assert.ok(refused(o), JSON.stringify(o));
    }
  });

  const clear: readonly { head: string; body: string; seen: string }[] = [
    { head: "Content-Length: 5", body: "0\r\n\r\n", seen: "POST /first 5" },
    { head: "Content-Length: 00005", body: "0\r\n\r\n", seen: "POST /first 5" },
    { head: "Content-Length:    5  ", body: "0\r\n\r\n", seen: "POST /first 5" },
    { head: "transfer-encoding: CHUNKED", body: "0\r\n\r\n", seen: "POST /first 0" },
    { head: "Transfer-Encoding: chunked", body: "5\r\nhello\r\n0\r\n\r\n", seen: "POST /first 5" },
    { head: "Content-Length: 5\r\nConnection: close, content-length", body: "0\r\n\r\n", seen: "POST /first 5" },
    { head: "Transfer-Encoding: chunked\r\nConnection: transfer-encoding", body: "5\r\nhello\r\n0\r\n\r\n", seen: "POST /first 5" },
  ];
  for (const { head, body, seen } of clear) {
    it(`is one request, or none, when only one end is left: ${JSON.stringify(head)}`, async () => {
      for (const way of pair.ways) {
        const o = await attack(way, `POST /first HTTP/1.1\r\nHost: app\r\n${head}\r\n\r\n${body}`);
        assert.ok(refused(o) || (o.seen.join() === seen && o.statuses.join() === "200"), JSON.stringify(o));
      }
    });
  }

  const framed: readonly string[] = ["Content-Length: 5", "Transfer-Encoding: chunked"];
  for (const head of framed) {
    it(`never hides a second request from the proxy: behind ${head} it is one of its own`, async () => {
      for (const way of pair.ways) {
        const o = await attack(
          way,
          `POST /first HTTP/1.1\r\nHost: app\r\n${head}\r\n\r\n0\r\n\r\nGET /second HTTP/1.1\r\nHost: app\r\n\r\n`,
        );
        assert.deepEqual(
          [o.seen.map((s) => s.split(" ")[1]), o.statuses],
          [
            ["/first", "/second"],
            [200, 200],
          ],
        );
      }
    });
  }

  it("keeps underscores apart from framing: Transfer_Encoding is no framing", async () => {
    for (const way of pair.ways) {
      const o = await attack(way, "POST /first HTTP/1.1\r\nHost: app\r\nTransfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n");
      assert.ok(refused(o) || o.seen.join() === "POST /first 5", JSON.stringify(o));
    }
  });
});

describe("an octet that does not belong there", () => {
  const octets = [...Array.from({ length: 0x21 }, (_, i) => i), ...Array.from({ length: 0x81 }, (_, i) => 0x7f + i)];
  const places: readonly { name: string; line: (c: string) => string }[] = [
    { name: "in a name", line: (c) => `X${c}A: v` },
    { name: "at the start of a name", line: (c) => `${c}XA: v` },
    { name: "before the colon", line: (c) => `XA${c}: v` },
    { name: "in a value", line: (c) => `XA: v${c}w` },
  ];
  for (const { name, line } of places) {
    it(`${name} is refused, or passed as it is beside the others`, async () => {
      for (const way of pair.ways) {
        const outcomes = await Promise.all(
          octets.map(async (octet) => {
            const url = `/octet-${octet}-${way.name}`;
            const c = pair.client(way);
            c.write(`GET ${url} HTTP/1.1\r\nHost: app\r\n${line(String.fromCharCode(octet))}\r\nX-Last: 1\r\nConnection: close\r\n\r\n`);
            c.socket.end();
            await c.all();
            return { octet, url, statuses: c.statuses };
          }),
        );
        const wrong = outcomes.filter(({ octet, url, statuses }) => {
          const seen = pair.app.seen.filter((s) => s.url === url);
          if (statuses.join() === "400") return seen.length > 0;
          const [one] = seen;
          const sent = line(String.fromCharCode(octet));
          const at = sent.indexOf(":");
          const has = one?.fields.some((f, i) => i % 2 === 0 && f === sent.slice(0, at) && one.fields[i + 1] === sent.slice(at + 1).trim());
          return statuses.join() !== "200" || seen.length !== 1 || !has || !one?.fields.includes("X-Last");
        });
        assert.deepEqual(wrong, []);
        assert.deepEqual(pair.app.refused, []);
      }
    }, 20_000);
  }

  it("in the request line is refused", async () => {
    const lines = octets
      .filter((o) => o !== 0x20)
      .flatMap((o) => [
        `GE${String.fromCharCode(o)}T / HTTP/1.1`,
        `GET /a${String.fromCharCode(o)}b HTTP/1.1`,
        `GET / HTTP/1.${String.fromCharCode(o)}`,
      ]);
    for (const way of pair.ways) {
      const outcomes = await Promise.all(lines.map((l) => attack(way, `${l}\r\nHost: app\r\n\r\n`)));
      assert.deepEqual(
        outcomes.filter((o) => o.statuses[0] === 200 || o.statuses.length !== 1),
        [],
      );
    }
    assert.deepEqual([pair.app.seen, pair.app.refused], [[], []]);
  }, 20_000);
});

describe("a line that does not end in CRLF", () => {
  const ends = { LF: "\n", CR: "\r", CRCRLF: "\r\r\n", LFCR: "\n\r" } as const;
  const places: readonly { name: string; of: (e: string) => string }[] = [
    { name: "the request line", of: (e) => `POST /first HTTP/1.1${e}Host: app\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n` },
    { name: "a field", of: (e) => `POST /first HTTP/1.1\r\nHost: app${e}Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n` },
    { name: "the head", of: (e) => `POST /first HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n${e}1\r\na\r\n0\r\n\r\n` },
    { name: "a chunk size", of: (e) => `POST /first HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n1${e}a\r\n0\r\n\r\n` },
    {
      name: "a chunk extension",
      of: (e) => `POST /first HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y${e}a\r\n0\r\n\r\n`,
    },
    { name: "chunk data", of: (e) => `POST /first HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na${e}0\r\n\r\n` },
    { name: "the last chunk", of: (e) => `POST /first HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0${e}\r\n` },
    { name: "a trailer", of: (e) => `POST /first HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx: y${e}\r\n` },
    { name: "the message", of: (e) => `POST /first HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n${e}` },
  ];
  for (const { name, of } of places) {
    it(`is refused: ${name}`, async () => {
      for (const way of pair.ways) {
        const outcomes = await Promise.all(
          Object.entries(ends).map(async ([end, e]) => ({ end, ...(await attack(way, of(e) + SMUGGLED)) })),
        );
        assert.deepEqual(
          outcomes.filter((o) => !refused(o)),
          [],
        );
      }
      assert.doesNotMatch(pair.app.raw, /smuggled/);
    });
  }
});

describe("a chunk extension", () => {
  const chunked = (line: string): string =>
    `POST /first HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n${line}\r\nhello\r\n0\r\n\r\n`;
  it("is never passed on", async () => {
    for (const way of pair.ways) {
      const o = await attack(way, chunked('5;secret=1;other="a b"'));
      assert.ok(refused(o) || o.seen.join() === "POST /first 5", JSON.stringify(o));
    }
    assert.doesNotMatch(pair.app.raw, /secret|other/);
  });

  const sizes = [
    "0x5",
    "+5",
    "-5",
    " 5",
    "5 ",
    "5\t",
    "5;a\nb",
    '5;a="\r\n"',
    `5;${"x".repeat(1024 * 1024)}`,
    "00000000000000005",
    "",
    "g",
    "5,5",
    "100000000000000000",
  ];
  for (const size of sizes) {
    it(`or a size of ${JSON.stringify(size.slice(0, 20))} is refused, or read as one body`, async () => {
      for (const way of pair.ways) {
        const o = await attack(way, chunked(size) + SMUGGLED);
        assert.ok(refused(o) || (o.seen.join() === "POST /first 5" && o.statuses.join() === "200"), JSON.stringify(o));
      }
    });
  }
});

describe("a request target", () => {
  const targets: readonly { target: string; host?: string; seen?: string; authority?: string }[] = [
    { target: "/plain", seen: "/plain", authority: "app" },
    { target: "http://other.example/plain", seen: "/plain", authority: "other.example" },
    { target: "http://other.example", seen: "/", authority: "other.example" },
    { target: "HTTP://Other.example/plain?q", seen: "/plain?q" },
    { target: "http://user@other.example/plain" },
    { target: "http:///plain" },
    { target: "ftp://other.example/plain" },
    { target: "other.example:443" },
    { target: "*" },
    { target: "" },
    { target: "plain" },
    { target: "?q" },
    { target: "/a#fragment" },
    { target: "/a/../../b" },
    { target: "/a%00b" },
    { target: "/a%2e%2e/b", seen: "/a../b" },
    { target: "/a/%2e%2e/b" },
    { target: "/a\\b" },
    { target: "//a//b", seen: "/a//b" },
  ];
  for (const { target, seen, authority } of targets) {
    it(`of the form ${JSON.stringify(target)} means ${seen === undefined ? "one thing or is refused" : seen}`, async () => {
      for (const way of pair.ways) {
        pair.app.seen = [];
        const o = await attack(way, `GET ${target} HTTP/1.1\r\nHost: app\r\n\r\n`);
        const [one] = pair.app.seen;
        const ok =
          o.statuses.join() === "200" &&
          one !== undefined &&
          !/[#\\]|\/\.\.|^\/\//.test(one.url) &&
          (seen === undefined || one.url === seen);
        assert.ok(seen === undefined ? ok || ((o.statuses[0] ?? 0) >= 400 && one === undefined) : ok, JSON.stringify(o));
        const names = one?.fields.map((f) => f.toLowerCase()) ?? [];
        const host = one?.fields[names.indexOf("host") + 1];
        assert.ok(authority === undefined || host === authority, `host ${host}`);
      }
    });
  }

  const hosts = [
    "Host: app\r\nHost: app",
    "Host: a\r\nHost: b",
    "Host:",
    "Host: a b",
    "Host: a/b",
    "Host: a@b",
    "Host: a,b",
    "Host: [::1",
    "Host: a:b",
  ];
  for (const host of hosts) {
    it(`with ${JSON.stringify(host)} is refused`, async () => {
      for (const way of pair.ways) assert.ok(refused(await attack(way, `GET / HTTP/1.1\r\n${host}\r\n\r\n`)));
    });
  }

  it("of CONNECT opens nothing", async () => {
    for (const way of pair.ways) {
      const o = await attack(way, "CONNECT app:80 HTTP/1.1\r\nHost: app:80\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: app\r\n\r\n");
      assert.ok(o.seen.length === 0 && o.statuses.every((s) => s >= 400), JSON.stringify(o));
    }
  });
});

describe("an answer that is more than one answer", () => {
  const answers: readonly { name: string; bytes: string; first: RegExp }[] = [
    {
      name: "two responses",
      bytes: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\noneHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
      first: /one$/,
    },
    { name: "a body beyond its length", bytes: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nonepoison", first: /one$/ },
    {
      name: "a body behind 204",
      bytes: "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
      first: /^HTTP\/1.1 204 /,
    },
    {
      name: "both framings",
      bytes: "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\npoison",
      first: /^HTTP\/1.1 502 /,
    },
    { name: "two lengths", bytes: "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Length: 3\r\n\r\npoison", first: /^HTTP\/1.1 502 / },
    {
      name: "101, which was not asked for",
      bytes: "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\npoison",
      first: /^HTTP\/1.1 502 /,
    },
    {
      name: "forty interim responses",
      bytes: `${"HTTP/1.1 103 Early\r\n\r\n".repeat(40)}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison`,
      first: /HTTP\/1.1 502 /,
    },
    { name: "a folded field", bytes: "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 6\r\n\r\npoison", first: /^HTTP\/1.1 502 / },
  ];
  for (const { name, bytes, first } of answers) {
    it(`reaches nobody but who asked: ${name}`, async () => {
      for (const way of pair.ways) {
        pair.app.plays.set("/bad", (_request, _response, socket) => socket.write(bytes));
        const c = pair.client(way);
        c.write("GET /bad HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n");
        const text = await c.all();
        assert.match(text, first);
        assert.doesNotMatch(text, /poison/);
        const others = await Promise.all([1, 2, 3, 4].map((i) => pair.victim(way, `/other-${i}`)));
        assert.deepEqual(
          others,
          [1, 2, 3, 4].map((i) => `<GET /other-${i} 0>`),
        );
      }
    });
  }

  it("is cut off, not completed, when the app breaks in the middle", async () => {
    for (const way of pair.ways) {
      pair.app.plays.set("/half", (_request, _response, socket) => {
        socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
        setImmediate(() => socket.destroy());
      });
      const c = pair.client(way);
      c.write("GET /half HTTP/1.1\r\nHost: app\r\n\r\n");
      const text = await c.all();
      assert.doesNotMatch(text, /\r\n0\r\n/);
    }
  });
});
