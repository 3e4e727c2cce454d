import assert from "node:assert/strict";
import { errorBody } from "./errors.ts";
import { request, response, World } from "./test-exchange.ts";

const KIB = 1024;

describe("an exchange", () => {
  it("passes a request without a body and its response", () => {
    const w = new World();
    w.down.head(request(), true);
    w.up(1).responds(200);
    w.up(1).data(5);
    w.up(1).data(3, true);
    assert.deepEqual(w.take(), ["up1 head GET /x end", "down head 200", "down data 5", "up1 credit 5", "down data 3 end", "up1 credit 3"]);
    assert.equal(w.leftover(), "");
  });

  it("passes a response that is all head", () => {
    const w = new World();
    w.down.head(request(), true);
    w.up(1).responds(204, true);
    assert.deepEqual(w.take(), ["up1 head GET /x end", "down head 204 end"]);
    assert.equal(w.leftover(), "");
  });

  it("passes both bodies while they come", () => {
    const w = new World();
    w.down.head(request("POST"));
    w.down.data(10);
    w.up(1).responds(200);
    w.up(1).data(7);
    w.down.data(20, true);
    w.up(1).data(0, true);
    assert.deepEqual(w.take(), [
      "up1 head POST /x",
      "up1 data 10",
      "down credit 10",
      "down head 200",
      "down data 7",
      "up1 credit 7",
      "up1 data 20 end",
      "down credit 20",
      "down data 0 end",
      "up1 credit 0",
    ]);
    assert.equal(w.leftover(), "");
  });

  it("credits the client only once upstream has room", () => {
    const w = new World();
    w.down.head(request("POST"));
    w.up(1).room = false;
    w.down.data(100);
    w.down.data(50);
    assert.deepEqual(w.take(), ["up1 head POST /x", "up1 data 100", "up1 data 50"]);
    w.up(1).drains();
    w.down.data(1, true);
    assert.deepEqual(w.take(), ["down credit 150", "up1 data 1 end", "down credit 1"]);
    w.up(1).responds(200, true);
    assert.equal(w.leftover(), "");
  });

  it("credits upstream only once the client has room, and each byte once", () => {
    const w = new World();
    w.down.head(request(), true);
    w.up(1).responds(200);
    w.down.room = false;
    w.up(1).data(100);
    w.up(1).data(50);
    w.take();
    w.down.drains();
    w.down.drains();
    w.up(1).data(1, true);
    assert.deepEqual(w.take(), ["up1 credit 150", "down data 1 end", "up1 credit 1"]);
    assert.equal(w.leftover(), "");
  });

  it("passes trailers both ways, without names of ours", () => {
    const w = new World();
    w.down.head(request("POST"));
    w.down.data(1);
    w.down.trailers("x-sum", "1", "weft-peer", "forged");
    w.up(1).responds(200);
    w.up(1).data(1);
    w.up(1).trailers("x-end", "2", "Weft_Error", "forged");
    assert.deepEqual(
      w.log.filter((l) => l.includes("trailers")),
      ["up1 trailers x-sum 1", "down trailers x-end 2"],
    );
    assert.equal(w.leftover(), "");
  });

  it("passes interim responses before the head, without names of ours", () => {
    const w = new World();
    w.down.head(request("POST"));
    w.up(1).interim(100);
    w.up(1).interim(103, "link", "</a>", "weft-error", "forged");
    w.down.data(1, true);
    w.up(1).responds(200, true);
    assert.deepEqual(w.take(), [
      "up1 head POST /x",
      "down interim 100",
      "down interim 103 link </a>",
      "up1 data 1 end",
      "down credit 1",
      "down head 200 end",
    ]);
    assert.equal(w.leftover(), "");
  });

  it("stops a request whose response is complete before its body, and credits what still comes", () => {
    const w = new World();
    w.down.head(request("POST"));
    w.down.data(10);
    w.up(1).responds(413);
    w.up(1).data(2, true);
    w.take();
    w.down.data(500);
    w.down.data(5, true);
    assert.deepEqual(w.take(), ["down credit 500", "down credit 5"]);
    assert.ok(w.log.includes("up1 reset cancelled"));
    assert.equal(w.leftover(), "");
  });

  it("counts a body over 1 MiB as bulk until it ends", () => {
    const w = new World();
    w.down.head(request(), true);
    w.up(1).responds(200);
    w.up(1).data(1024 * KIB);
    const before = w.up(1).connection.bulk;
    w.up(1).data(1);
    const during = w.up(1).connection.bulk;
    w.up(1).data(0, true);
    assert.deepEqual([before, during, w.up(1).connection.bulk], [0, 1, 0]);
    assert.equal(w.leftover(), "");
  });

  it("answers nothing twice: what upstream says after its end changes nothing", () => {
    const w = new World();
    w.down.head(request(), true);
    const { events } = w.up(1);
    w.up(1).responds(200, true);
    w.take();
    events.onHead(response(500), true);
    events.onData(Buffer.alloc(3), true);
    events.onTrailers(["a", "b"]);
    events.onInterim(response(103));
    events.onReset("closed", "late");
    events.onWritable();
    w.down.events.onReset("closed", "late");
    w.down.events.onTrailers(["a", "b"]);
    w.down.drains();
    assert.deepEqual(w.take(), []);
    assert.equal(w.leftover(), "");
  });
});

describe("an error of our own", () => {
  it("has a body", () => {
    const w = new World({ route: { backends: [] } });
    w.down.head(request(), true);
    assert.deepEqual(w.take(), ["down head 500", `down data ${errorBody({ code: "WEFT_NO_BACKEND", detail: "" }).length} end`]);
    assert.equal(w.leftover(), "");
  });

  it("has no body when HEAD was asked for", () => {
    const w = new World({ route: { backends: [] } });
    w.down.head(request("HEAD"), true);
    assert.deepEqual(w.take(), ["down head 500 end"]);
    assert.equal(w.leftover(), "");
  });

  it("is answered when there is no endpoint, after it was looked for again", () => {
    const w = new World({ endpoints: 0 });
    w.down.head(request(), true);
    const before = w.x.status;
    w.clock.advance(100);
    assert.deepEqual([before, w.x.status, w.x.error?.code], [0, 503, "WEFT_NO_ENDPOINT"]);
    assert.equal(w.leftover(), "");
  });

  it("is answered to a path that two servers would read differently, before anything is opened", () => {
    const w = new World();
    w.down.head(request("GET", { target: "/a%2f..%2fb\0" }), true);
    assert.deepEqual([w.x.status, w.attempts.length], [400, 0]);
    assert.equal(w.leftover(), "");
  });

  it("is answered while all buffers are full", () => {
    const w = new World({ overloaded: () => true });
    w.down.head(request("POST"));
    w.down.data(10);
    assert.deepEqual([w.x.status, w.x.error?.code, w.attempts.length], [503, "WEFT_OVERLOADED", 0]);
    assert.equal(w.leftover(), "");
  });

  it("is answered by a route without a backend", () => {
    const w = new World({ route: { backends: [] } });
    w.down.head(request(), true);
    assert.deepEqual([w.x.status, w.x.error?.code], [500, "WEFT_NO_BACKEND"]);
    assert.equal(w.leftover(), "");
  });
});

describe("a client that goes away", () => {
  const steps: readonly { name: string; until: (w: World) => void }[] = [
    { name: "before its body", until: (w) => w.down.head(request("POST")) },
    {
      name: "in its body",
      until: (w) => {
        w.down.head(request("POST"));
        w.up(1).room = false;
        w.down.data(10);
      },
    },
    { name: "before the response", until: (w) => w.down.head(request(), true) },
    {
      name: "after an interim response",
      until: (w) => {
        w.down.head(request("POST"));
        w.up(1).interim(100);
      },
    },
    {
      name: "in the response",
      until: (w) => {
        w.down.head(request(), true);
        w.up(1).responds(200);
        w.down.room = false;
        w.up(1).data(10);
      },
    },
  ];
  for (const { name, until } of steps) {
    it(`${name}: ends the attempt and is not answered`, () => {
      const w = new World({
        route: {
          timeouts: { requestMs: 1000, backendRequestMs: 500, idleMs: 300 },
          retry: { attempts: 3, budgetPercent: 100, budgetMinPerSecond: 10 },
        },
      });
      until(w);
      const status = w.x.status;
      w.down.breaks("closed");
      w.clock.advance(5_000);
      assert.equal(w.log.at(-1), "up1 reset cancelled");
      assert.deepEqual([w.x.status, w.attempts.length, w.x.error?.status], [status, 1, 499]);
      assert.equal(w.leftover(), "");
    });
  }

  it("while a further attempt is waited for: there is none", () => {
    const w = new World({ route: { retry: { attempts: 3, codes: [503], backoffMs: 100, budgetPercent: 100, budgetMinPerSecond: 10 } } });
    w.down.head(request(), true);
    w.up(1).responds(503);
    w.down.breaks("closed");
    w.clock.advance(5_000);
    assert.equal(w.attempts.length, 1);
    assert.equal(w.leftover(), "");
  });

  it("while a delay is injected: nothing is opened", () => {
    const w = new World({ route: { faults: { delay: { durationMs: 2000 } } } });
    w.down.head(request(), true);
    w.down.breaks("closed");
    w.clock.advance(5_000);
    assert.equal(w.attempts.length, 0);
    assert.equal(w.leftover(), "");
  });
});

describe("an upstream that breaks", () => {
  const reasons = [
    { reason: "closed", code: "WEFT_UPSTREAM_RESET", status: 503 },
    { reason: "cancelled", code: "WEFT_UPSTREAM_RESET", status: 503 },
    { reason: "protocol", code: "WEFT_UPSTREAM_PROTOCOL", status: 502 },
  ] as const;
  for (const { reason, code, status } of reasons) {
    it(`before its head by "${reason}" is answered ${status}`, () => {
      const w = new World();
      w.down.head(request("POST"));
      w.down.data(3);
      w.up(1).breaks(reason);
      assert.deepEqual([w.x.status, w.x.error?.code], [status, code]);
      assert.equal(w.leftover(), "");
    });
    it(`in the body by "${reason}" resets the client and never completes`, () => {
      const w = new World({ route: { retry: { attempts: 3, codes: [], budgetPercent: 100, budgetMinPerSecond: 10 } } });
      w.down.head(request(), true);
      w.up(1).responds(200);
      w.up(1).data(3);
      w.up(1).breaks(reason);
      assert.deepEqual(w.take().slice(-3), ["down data 3", "up1 credit 3", "down reset closed"]);
      assert.deepEqual([w.down.localEnded, w.attempts.length, w.x.error?.code], [false, 1, code]);
      assert.equal(w.leftover(), "");
    });
  }

  it("after its head alone resets the client", () => {
    const w = new World();
    w.down.head(request(), true);
    w.up(1).responds(200);
    w.up(1).breaks("refused");
    assert.deepEqual(w.take().slice(-2), ["down head 200", "down reset closed"]);
    assert.equal(w.leftover(), "");
  });
});
