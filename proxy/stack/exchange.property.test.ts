import assert from "node:assert/strict";
import fc from "fast-check";
import type { ResetReason } from "../protocol/stream.ts";
import type { ProxyError } from "./errors.ts";
import { type FakeAttempt, request, World } from "./test-exchange.ts";

const KIB = 1024;
const RUNS = 3_000;

/** One thing that a peer, the network or time does; nothing when it is not its turn. */
type Step = (w: World) => void;

const size = fc.constantFrom(0, 1, 100, 20 * KIB, 50 * KIB, 1_100 * KIB);
const last = (w: World): FakeAttempt | undefined => w.attempts.at(-1);
const ifClient =
  (f: (w: World) => void): Step =>
  (w) => {
    if (w.down.headReceived && w.down.speaks) f(w);
  };
const ifUpstream =
  (may: (a: FakeAttempt) => boolean, f: (a: FakeAttempt) => void): Step =>
  (w) => {
    const a = last(w);
    if (a?.speaks && may(a)) f(a);
  };
const before = (a: FakeAttempt): boolean => !a.headReceived;
const within = (a: FakeAttempt): boolean => a.headReceived;
const failure: ProxyError = { code: "WEFT_CONNECT_FAILED", detail: "made up" };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(size, fc.boolean()).map(([n, end]) => ifClient((w) => w.down.data(end ? n : Math.max(1, n), end))),
  fc.constant(ifClient((w) => w.down.trailers("x-a", "1"))),
  fc.constant(ifClient((w) => w.down.breaks("closed"))),
  fc.constant(ifUpstream(before, (a) => a.interim(103))),
  fc.tuple(fc.constantFrom(200, 204, 503), fc.boolean()).map(([status, end]) => ifUpstream(before, (a) => a.responds(status, end))),
  fc.tuple(size, fc.boolean()).map(([n, end]) => ifUpstream(within, (a) => a.data(end ? n : Math.max(1, n), end))),
  fc.constant(ifUpstream(within, (a) => a.trailers("x-b", "2"))),
  fc
    .tuple(fc.constantFrom<ResetReason>("refused", "closed", "cancelled", "protocol"), fc.boolean(), fc.boolean())
    .map(([reason, reused, made]) =>
      ifUpstream(
        () => true,
        (a) => {
          a.connection.reused = reused;
          a.connection.established = made || a.headReceived;
          a.connection.failure = a.connection.established ? null : failure;
          a.breaks(reason);
        },
      ),
    ),
  fc.integer({ min: 1, max: 1_500 }).map(
    (ms): Step =>
      (w) =>
        w.clock.advance(ms),
  ),
  fc.boolean().map(
    (room): Step =>
      (w) => {
        w.upstreamRoom = room;
        const a = last(w);
        if (a === undefined || a.dead) return;
        if (room && a.waiting) a.drains();
        else a.room = room;
      },
  ),
  fc.boolean().map(
    (room): Step =>
      (w) => {
        if (w.down.dead) return;
        if (room && w.down.waiting) w.down.drains();
        else w.down.room = room;
      },
  ),
  fc.boolean().map(
    (refuses): Step =>
      (w) => {
        for (const e of w.endpoints) e.refusal = refuses ? failure : null;
      },
  ),
);

const world = fc.record({
  method: fc.constantFrom("GET", "POST", "PUT", "HEAD"),
  whole: fc.boolean(),
  timeouts: fc.record({ requestMs: fc.constantFrom(0, 2_000), backendRequestMs: fc.constantFrom(0, 700), idleMs: fc.constantFrom(0, 900) }),
  attempts: fc.constantFrom(0, 3),
  delayMs: fc.constantFrom(0, 0, 500),
  nonIdempotent: fc.boolean(),
  steps: fc.array(step, { maxLength: 40 }),
});

/** Every way in which it may have gone wrong, in words. */
function judge(w: World): string {
  const wrong: string[] = [];
  const answered = w.log.findIndex((line) => /^down (head|reset)/.test(line));
  const further = w.log.findIndex((line, i) => i > answered && /^up\d+ head/.test(line));
  if (answered >= 0 && further >= 0) wrong.push("an attempt after the answer");
  for (const a of w.attempts) {
    if (!a.dead && !(a.localEnded && a.remoteEnded)) wrong.push(`${a.name} is left open`);
    if (a.localEnded && !a.dead && a.sent !== w.down.received)
      wrong.push(`${a.name} got ${a.sent} of ${w.down.received} bytes as if they were all`);
  }
  const a = w.attempts.at(-1);
  // Only a response passed on from upstream can be broken; one of our own is made whole.
  const whole = a?.remoteEnded === true && a.received === w.down.sent;
  if (w.down.localEnded && w.x["responding"] && !whole) wrong.push("a broken response was completed");
  return [...wrong, w.leftover()].filter((text) => text !== "").join("; ");
}

describe("an exchange, whatever happens in whatever order", () => {
  it("answers once or resets, sends again only before that, credits each byte once and leaves nothing behind", () => {
    fc.assert(
      fc.property(world, ({ method, whole, timeouts, attempts, delayMs, nonIdempotent, steps }) => {
        const retry = { attempts, codes: [503], backoffMs: 25, budgetPercent: 100, budgetMinPerSecond: 10, nonIdempotent };
        const faults = delayMs === 0 ? undefined : { delay: { durationMs: delayMs } };
        const w = new World({ route: { timeouts, retry, ...(faults === undefined ? {} : { faults }) } });
        w.down.head(request(method), whole);
        for (const s of steps) s(w);
        // What is still under way ends because the client goes away; what has ended has ended by itself.
        const over = w.finished > 0;
        if (!over) w.down.breaks("closed");
        w.clock.advance(30_000);
        assert.equal(judge(w), "", w.log.join("\n"));
      }),
      { numRuns: RUNS },
    );
  });
});
