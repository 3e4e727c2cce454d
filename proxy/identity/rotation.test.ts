import assert from "node:assert/strict";
import { ManualClock } from "#testing/manual-clock.ts";
import { type Renewed, Rotation, retryDelayMs, rotateAtMs } from "./rotation.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** A rotation on a manual clock; `answer` is what the CA gives next. */
function rig(random: () => number = () => 0.5) {
  const clock = new ManualClock();
  const asked: number[] = [];
  const rig = { clock, asked, answer: null as ((done: (r: Renewed) => void) => void) | null };
  const rotation = new Rotation({
    clock,
    random,
    renew: (done) => {
      asked.push(clock.monotonicMs());
      rig.answer?.(done);
    },
  });
  const svid = (lifetimeMs: number): Renewed => ({
    issuedAtMs: clock.wallMs(),
    notAfterMs: clock.wallMs() + lifetimeMs,
    renewAfterPercent: 50,
  });
  return Object.assign(rig, { rotation, svid });
}

describe("the moment of rotation", () => {
  const day = { issuedAtMs: 1_000, notAfterMs: 1_000 + 24 * HOUR };
  const rows: { name: string; validity: typeof day; jitter: number; fraction?: number; afterMs: number }[] = [
    { name: "is half-way through a 24 h lifetime", validity: day, jitter: 0.5, afterMs: 12 * HOUR },
    { name: "is at most 10 % earlier", validity: day, jitter: 0, afterMs: 10.8 * HOUR },
    { name: "is less than 10 % later", validity: day, jitter: 1 - Number.EPSILON, afterMs: 13.2 * HOUR },
    { name: "follows the given fraction", validity: day, jitter: 0.5, fraction: 0.7, afterMs: 16.8 * HOUR },
    {
      name: "is never in the last 5 %, whatever fraction and jitter say",
      validity: day,
      jitter: 0.99,
      fraction: 0.95,
      afterMs: 22.8 * HOUR,
    },
    { name: "is at once for a lifetime that is over", validity: { issuedAtMs: 9_000, notAfterMs: 1_000 }, jitter: 0.5, afterMs: 0 },
  ];
  it.each(rows)("$name", ({ validity, jitter, fraction, afterMs }) => {
    assert.ok(Math.abs(rotateAtMs(validity, jitter, fraction) - validity.issuedAtMs - afterMs) < 1);
  });
});

describe("the wait after a failed renewal", () => {
  const rows: { name: string; failures: number; leftMs: number; jitter: number; ms: number }[] = [
    { name: "is a second at first", failures: 1, leftMs: 12 * HOUR, jitter: 1, ms: 1_000 },
    { name: "doubles", failures: 3, leftMs: 12 * HOUR, jitter: 1, ms: 4_000 },
    { name: "ends at 30 s", failures: 50, leftMs: 12 * HOUR, jitter: 1, ms: 30_000 },
    { name: "is halved at most by jitter", failures: 50, leftMs: 12 * HOUR, jitter: 0, ms: 15_000 },
    { name: "is a tenth of what is left when that is less", failures: 50, leftMs: MINUTE, jitter: 1, ms: 6_000 },
    { name: "never falls below a second while the SVID is valid", failures: 50, leftMs: 2_000, jitter: 1, ms: 1_000 },
    { name: "begins at 250 ms without a valid SVID", failures: 1, leftMs: Number.NEGATIVE_INFINITY, jitter: 1, ms: 250 },
    { name: "ends at 2 s without a valid SVID", failures: 50, leftMs: 0, jitter: 1, ms: 2_000 },
  ];
  it.each(rows)("$name", ({ failures, leftMs, jitter, ms }) => {
    assert.equal(retryDelayMs(failures, leftMs, jitter), ms);
  });
});

describe("SVID rotation", () => {
  it("asks at once when there is no SVID", () => {
    const r = rig();
    r.rotation.start(null);
    assert.deepEqual(r.asked, [0]);
  });

  it("asks for the next SVID half-way through a 24 h lifetime, and not before", () => {
    const r = rig();
    r.rotation.start(r.svid(24 * HOUR));
    r.clock.advance(12 * HOUR - 1);
    assert.deepEqual(r.asked, []);
    r.clock.advance(1);
    assert.deepEqual(r.asked, [12 * HOUR]);
  });

  it("goes on for ever, one lifetime after another", () => {
    const r = rig();
    r.answer = (done) => done(r.svid(60_000));
    r.rotation.start(null);
    r.clock.advance(5 * MINUTE);
    assert.deepEqual(
      r.asked,
      [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((n) => n * 30_000),
    );
  });

  it("asks only once while an answer is outstanding", () => {
    const r = rig();
    r.rotation.start(null);
    r.clock.advance(HOUR);
    assert.equal(r.asked.length, 1);
  });

  it("asks within 30 s when the wall clock jumped past the moment", () => {
    const r = rig();
    r.rotation.start(r.svid(24 * HOUR));
    r.clock.advance(MINUTE);
    r.clock.jumpWall(20 * HOUR);
    r.clock.advance(30_000);
    assert.equal(r.asked.length, 1);
  });

  it("asks within a tenth of a short lifetime when the wall clock jumped", () => {
    const r = rig();
    r.rotation.start(r.svid(60_000));
    r.clock.jumpWall(50_000);
    r.clock.advance(6_000);
    assert.equal(r.asked.length, 1);
  });

  it("is not delayed by a wall clock that was set back an hour", () => {
    const r = rig();
    r.rotation.start(r.svid(60_000));
    r.clock.jumpWall(-HOUR);
    r.clock.advance(30_000);
    assert.equal(r.asked.length, 1);
  });

  it("tries again and again after failures, ever denser towards the end of a 60 s SVID", () => {
    const r = rig(() => 1);
    r.answer = (done) => done(null);
    r.rotation.start(r.svid(60_000));
    r.clock.advance(60_000);
    const waits = r.asked.slice(1).map((at, i) => at - r.asked[i]!);
    assert.equal(r.asked[0], 33_000);
    assert.ok(waits.length >= 8 && Math.max(...waits) <= 2_700 && Math.min(...waits) >= 250, waits.join());
  });

  it("grows its waits when every SVID is due at birth, because our clock is far ahead of the CA's", () => {
    const r = rig(() => 1);
    r.answer = (done) => done(r.svid(-HOUR));
    r.rotation.start(null);
    r.clock.advance(20_000);
    assert.ok(r.asked.length < 15, `${r.asked.length} requests in 20 s`);
  });

  it("returns to the schedule after a success", () => {
    const r = rig();
    r.answer = (done) => done(null);
    r.rotation.start(null);
    r.clock.advance(10_000);
    r.answer = (done) => done(r.svid(10 * MINUTE));
    r.clock.advance(2_000);
    const soFar = r.asked.length;
    r.clock.advance(5 * MINUTE - 2_000);
    assert.equal(r.asked.length, soFar);
    r.clock.advance(2_000);
    assert.equal(r.asked.length, soFar + 1);
  });

  it("leaves no timer behind when stopped, even if an answer comes later", () => {
    const r = rig();
    const answers: ((outcome: Renewed) => void)[] = [];
    r.answer = (done) => void answers.push(done);
    r.rotation.start(null);
    r.rotation.stop();
    answers[0]!(null);
    assert.equal(r.clock.pending, 0);
    assert.equal(r.asked.length, 1);
  });
});
