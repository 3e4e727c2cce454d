import assert from "node:assert/strict";
import type { ProxyError } from "./errors.ts";
import { request, World, type WorldOptions } from "./test-exchange.ts";

const KIB = 1024;
const BUDGET = { budgetPercent: 100, budgetMinPerSecond: 10 };
const CONNECT_FAILED: ProxyError = { code: "WEFT_CONNECT_FAILED", detail: "e: refused" };

/** What upstream was told, of one attempt or of all. */
const ups = (w: World): string[] => w.log.filter((line) => line.startsWith("up"));

describe("a request that nobody processed", () => {
  it("is tried at another endpoint at once, whatever its method", () => {
    const w = new World();
    w.down.head(request("POST"));
    w.down.data(10, true);
    w.up(1).breaks("refused");
    assert.deepEqual(w.take(), ["up1 head POST /x", "up1 data 10 end", "down credit 10", "up2 head POST /x", "up2 data 10 end"]);
    assert.notEqual(w.up(1).endpoint, w.up(2).endpoint);
    w.up(2).responds(200, true);
    assert.deepEqual([w.x.status, w.retries], [200, ["WEFT_UPSTREAM_RESET"]]);
    assert.equal(w.leftover(), "");
  });

  it("is tried at most twice more, the second time after a moment", () => {
    const w = new World();
    w.down.head(request("POST"), true);
    w.up(1).breaks("refused");
    w.up(2).breaks("refused");
    const before = w.attempts.length;
    w.clock.advance(60);
    w.up(3).breaks("refused");
    w.clock.advance(1_000);
    assert.deepEqual([before, w.attempts.length, w.x.status], [2, 3, 503]);
    assert.equal(w.leftover(), "");
  });

  it("is tried elsewhere when a connection could not be made", () => {
    const w = new World();
    w.down.head(request("POST"), true);
    w.up(1).connection.established = false;
    w.up(1).connection.failure = CONNECT_FAILED;
    w.up(1).breaks("closed");
    w.up(2).responds(200, true);
    assert.deepEqual([w.x.status, w.retries], [200, ["WEFT_CONNECT_FAILED"]]);
    assert.equal(w.leftover(), "");
  });

  it("is tried elsewhere when the endpoint opens no stream", () => {
    const w = new World();
    for (const e of w.endpoints) e.refusal = CONNECT_FAILED;
    w.endpoints[1]!.refusal = null;
    w.down.head(request("POST"), true);
    w.clock.advance(100);
    w.up(1).responds(200, true);
    assert.deepEqual([w.x.status, w.up(1).endpoint], [200, w.endpoints[1]]);
    assert.equal(w.leftover(), "");
  });

  it("is answered with what went wrong last when nobody takes it", () => {
    const w = new World();
    for (const e of w.endpoints) e.refusal = CONNECT_FAILED;
    w.down.head(request("POST"));
    w.down.data(10);
    w.clock.advance(1_000);
    assert.deepEqual([w.x.status, w.x.error?.code, w.retries.length], [503, "WEFT_CONNECT_FAILED", 2]);
    assert.equal(w.leftover(), "");
  });
});

describe("a connection that breaks before a byte of answer", () => {
  const lost = (w: World, method: string, reused: boolean): void => {
    w.down.head(request(method), true);
    w.up(1).connection.reused = reused;
    w.up(1).breaks("closed");
  };

  it("gives a request that may be repeated another try when it had served before: its peer may just have closed it", () => {
    const w = new World();
    lost(w, "GET", true);
    w.up(2).responds(200, true);
    assert.equal(w.x.status, 200);
    assert.equal(w.leftover(), "");
  });

  it("does so at most twice, however many old connections there are", () => {
    const w = new World();
    lost(w, "GET", true);
    for (let i = 2; i <= 3; i++) {
      w.clock.advance(100);
      w.up(i).connection.reused = true;
      w.up(i).breaks("closed");
    }
    w.clock.advance(1_000);
    assert.deepEqual([w.attempts.length, w.x.status], [3, 503]);
    assert.equal(w.leftover(), "");
  });

  const cases: readonly { name: string; play: (w: World) => void }[] = [
    { name: "a POST, which the peer may have processed", play: (w) => lost(w, "POST", true) },
    { name: "a request on a new connection", play: (w) => lost(w, "GET", false) },
    {
      name: "a request that an interim response has answered",
      play: (w) => {
        w.down.head(request("PUT"));
        w.down.data(3, true);
        w.up(1).connection.reused = true;
        w.up(1).interim(100);
        w.up(1).breaks("closed");
      },
    },
    {
      name: "a request whose stream alone was reset",
      play: (w) => {
        w.down.head(request(), true);
        w.up(1).connection.reused = true;
        w.up(1).breaks("cancelled");
      },
    },
  ];
  for (const { name, play } of cases) {
    it(`gives no further try to ${name}`, () => {
      const w = new World();
      play(w);
      w.clock.advance(1_000);
      assert.deepEqual([w.attempts.length, w.x.status], [1, 503]);
      assert.equal(w.leftover(), "");
    });
  }
});

describe("a policy's retries", () => {
  const retrying = (more: object = {}): WorldOptions => ({
    route: { retry: { attempts: 2, codes: [502, 503], backoffMs: 20, ...BUDGET, ...more } },
  });

  it("hide a status that the policy names, and wait between attempts", () => {
    const w = new World(retrying());
    w.down.head(request(), true);
    w.up(1).responds(503);
    assert.deepEqual(w.take(), ["up1 head GET /x end", "up1 reset cancelled"]);
    w.clock.advance(60);
    w.up(2).responds(502, true);
    w.clock.advance(60);
    w.up(3).responds(200, true);
    assert.deepEqual(w.take(), ["up2 head GET /x end", "up2 reset cancelled", "up3 head GET /x end", "down head 200 end"]);
    assert.deepEqual(w.retries, ["503", "502"]);
    assert.equal(w.leftover(), "");
  });

  it("end at the number of attempts: the last response is the client's", () => {
    const w = new World(retrying());
    w.down.head(request(), true);
    for (let i = 1; i <= 3; i++) {
      w.up(i).responds(503, true);
      w.clock.advance(100);
    }
    assert.deepEqual([w.attempts.length, w.x.status, w.x.error], [3, 503, null]);
    assert.equal(w.leftover(), "");
  });

  it("leave a POST alone unless the policy says otherwise", () => {
    const once = new World(retrying());
    const again = new World(retrying({ nonIdempotent: true }));
    for (const w of [once, again]) {
      w.down.head(request("POST"), true);
      w.up(1).responds(503, true);
      w.clock.advance(100);
    }
    again.up(2).responds(200, true);
    assert.deepEqual([once.x.status, once.attempts.length, again.x.status], [503, 1, 200]);
    assert.equal(once.leftover() + again.leftover(), "");
  });

  it("send a body of 64 KiB again, whole and credited once", () => {
    const w = new World(retrying());
    w.down.head(request("PUT"));
    w.down.data(40 * KIB);
    w.down.data(24 * KIB, true);
    w.up(1).responds(503, true);
    w.clock.advance(100);
    assert.deepEqual(w.log.slice(-3), ["up2 head PUT /x", `up2 data ${40 * KIB}`, `up2 data ${24 * KIB} end`]);
    w.up(2).responds(200, true);
    assert.equal(w.leftover(), "");
  });

  it("do not happen with a body that is a byte longer", () => {
    const w = new World(retrying());
    w.down.head(request("PUT"));
    w.down.data(64 * KIB);
    w.down.data(1, true);
    w.up(1).responds(503, true);
    w.clock.advance(100);
    assert.deepEqual([w.attempts.length, w.x.status], [1, 503]);
    assert.equal(w.leftover(), "");
  });

  it("take up a body that is still coming, with what came while they waited", () => {
    const w = new World(retrying());
    w.down.head(request("PUT"));
    w.down.data(10);
    w.up(1).responds(503);
    w.down.data(20);
    w.take();
    w.clock.advance(100);
    w.down.data(30);
    w.down.trailers("x-sum", "9");
    assert.deepEqual(w.take(), [
      "up2 head PUT /x",
      "up2 data 10",
      "up2 data 20",
      "down credit 20",
      "up2 data 30",
      "down credit 30",
      "up2 trailers x-sum 9",
    ]);
    w.up(2).responds(200, true);
    assert.equal(w.leftover(), "");
  });

  it("send again what trailers came while they waited", () => {
    const w = new World(retrying());
    w.down.head(request("PUT"));
    w.up(1).responds(503);
    w.down.trailers("x-sum", "0");
    w.clock.advance(100);
    assert.deepEqual(ups(w).slice(-2), ["up2 head PUT /x", "up2 trailers x-sum 0"]);
    w.up(2).responds(200, true);
    assert.equal(w.leftover(), "");
  });

  it("keep the client waiting for room that the first attempt did not have", () => {
    const w = new World(retrying());
    w.down.head(request("PUT"));
    w.up(1).room = false;
    w.down.data(100);
    w.upstreamRoom = false;
    w.up(1).responds(503);
    w.clock.advance(100);
    const before = w.down.credited;
    w.up(2).drains();
    assert.deepEqual([before, w.down.credited], [0, 100]);
    w.down.data(0, true);
    w.up(2).responds(200, true);
    assert.equal(w.leftover(), "");
  });

  it("do not happen after the head was passed on", () => {
    const w = new World(retrying({ codes: [] }));
    w.down.head(request(), true);
    w.up(1).responds(200);
    w.up(1).breaks("closed");
    w.clock.advance(1_000);
    assert.deepEqual([w.attempts.length, w.down.dead], [1, true]);
    assert.equal(w.leftover(), "");
  });

  it("end with the budget, and the client gets the last response", () => {
    const w = new World(retrying({ attempts: 5, budgetPercent: 100, budgetMinPerSecond: 0 }));
    w.down.head(request(), true);
    w.up(1).responds(503, true);
    w.clock.advance(100);
    w.up(2).responds(503, true);
    assert.deepEqual([w.attempts.length, w.x.status, w.exhausted], [2, 503, 1]);
    assert.equal(w.leftover(), "");
  });
});

describe("timeouts", () => {
  const timed = (timeouts: object, more: object = {}): WorldOptions => ({ route: { timeouts, ...more } });

  it("of the request end it with all its attempts", () => {
    const w = new World(timed({ requestMs: 500 }, { retry: { attempts: 5, codes: [503], backoffMs: 10, ...BUDGET } }));
    w.down.head(request(), true);
    w.up(1).responds(503, true);
    w.clock.advance(400);
    const before = w.x.status;
    w.clock.advance(140);
    assert.deepEqual([before, w.x.status, w.x.error?.code, w.attempts.length], [0, 504, "WEFT_REQUEST_TIMEOUT", 2]);
    assert.ok(w.log.includes("up2 reset timeout"));
    assert.equal(w.leftover(), "");
  });

  it("of the request end it while a further attempt is waited for", () => {
    const w = new World(timed({ requestMs: 100 }, { retry: { attempts: 5, codes: [503], backoffMs: 60_000, ...BUDGET } }));
    w.down.head(request(), true);
    w.up(1).responds(503, true);
    w.clock.advance(200);
    assert.deepEqual([w.x.status, w.attempts.length], [504, 1]);
    assert.equal(w.leftover(), "");
  });

  it("of the request reset the client once the head is out", () => {
    const w = new World(timed({ requestMs: 500, backendRequestMs: 400_000 }));
    w.down.head(request(), true);
    w.up(1).responds(200);
    w.clock.advance(600);
    assert.deepEqual(w.log.slice(-2), ["up1 reset timeout", "down reset closed"]);
    assert.equal(w.leftover(), "");
  });

  it("of an attempt are followed by another where the policy allows it", () => {
    const w = new World(timed({ backendRequestMs: 100 }, { retry: { attempts: 1, codes: [], backoffMs: 10, ...BUDGET } }));
    w.down.head(request(), true);
    w.clock.advance(200);
    assert.deepEqual(ups(w), ["up1 head GET /x end", "up1 reset timeout", "up2 head GET /x end"]);
    w.up(2).responds(200, true);
    assert.equal(w.leftover(), "");
  });

  it("of an attempt are answered 504 where it does not", () => {
    const w = new World(timed({ backendRequestMs: 100 }));
    w.down.head(request(), true);
    w.clock.advance(200);
    assert.deepEqual([w.x.status, w.x.error?.code, w.attempts.length], [504, "WEFT_BACKEND_TIMEOUT", 1]);
    assert.equal(w.leftover(), "");
  });

  it("of an attempt reset the client in the middle of the response", () => {
    const w = new World(timed({ backendRequestMs: 100 }, { retry: { attempts: 1, ...BUDGET } }));
    w.down.head(request(), true);
    w.up(1).responds(200);
    w.clock.advance(200);
    assert.deepEqual(w.log.slice(-2), ["up1 reset timeout", "down reset closed"]);
    assert.equal(w.leftover(), "");
  });

  it("of idleness count from the last byte in either direction", () => {
    const w = new World(timed({ idleMs: 100 }));
    w.down.head(request("POST"));
    w.clock.advance(80);
    w.down.data(1);
    w.clock.advance(80);
    w.up(1).interim(100);
    w.clock.advance(80);
    w.up(1).responds(200);
    w.clock.advance(80);
    w.up(1).data(1);
    w.clock.advance(80);
    const before = w.down.dead;
    w.clock.advance(60);
    assert.deepEqual([before, w.down.dead, w.x.error?.code], [false, true, "WEFT_IDLE_TIMEOUT"]);
    assert.equal(w.leftover(), "");
  });

  it("of idleness are answered 504 before the head", () => {
    const w = new World(timed({ idleMs: 100 }));
    w.down.head(request(), true);
    w.clock.advance(150);
    assert.deepEqual([w.x.status, w.x.error?.code], [504, "WEFT_IDLE_TIMEOUT"]);
    assert.equal(w.leftover(), "");
  });
});

describe("faults", () => {
  const always = { numerator: 1, denominator: 1 };

  it("delay the first attempt; what comes meanwhile is held back and sent then", () => {
    const w = new World({ route: { faults: { delay: { durationMs: 2000, fraction: always } } } });
    w.down.head(request("POST"));
    w.down.data(10, true);
    w.clock.advance(1_980);
    const before = w.take();
    w.clock.advance(60);
    assert.deepEqual([before, w.take()], [[], ["up1 head POST /x", "up1 data 10 end", "down credit 10"]]);
    w.up(1).responds(200, true);
    assert.equal(w.leftover(), "");
  });

  it("hold back more than could be sent again, and send all of it", () => {
    const w = new World({ route: { faults: { delay: { durationMs: 100, fraction: always } } } });
    w.down.head(request("POST"));
    for (let i = 0; i < 3; i++) w.down.data(50 * KIB);
    w.clock.advance(200);
    w.down.data(0, true);
    assert.deepEqual([w.up(1).sent, w.down.credited], [150 * KIB, 150 * KIB]);
    w.up(1).breaks("refused");
    w.clock.advance(200);
    assert.deepEqual([w.attempts.length, w.x.status], [1, 503]);
    assert.equal(w.leftover(), "");
  });

  it("abort with the status of the policy and open nothing", () => {
    const w = new World({ route: { faults: { abort: { status: 418, fraction: always } } } });
    w.down.head(request(), true);
    assert.deepEqual([w.x.status, w.x.error?.code, w.attempts.length], [418, "WEFT_FAULT_ABORT", 0]);
    assert.equal(w.leftover(), "");
  });

  it("abort after a delay when both fall on a request, even one whose route has no backend", () => {
    const w = new World({
      route: { backends: [], faults: { delay: { durationMs: 100, fraction: always }, abort: { status: 418, fraction: always } } },
    });
    w.down.head(request(), true);
    const before = w.x.status;
    w.clock.advance(200);
    assert.deepEqual([before, w.x.status], [0, 418]);
    assert.equal(w.leftover(), "");
  });

  it("are spent when the request's time is", () => {
    const w = new World({ route: { timeouts: { requestMs: 100 }, faults: { delay: { durationMs: 2000, fraction: always } } } });
    w.down.head(request(), true);
    w.clock.advance(200);
    assert.deepEqual([w.x.status, w.attempts.length], [504, 0]);
    assert.equal(w.leftover(), "");
  });
});
