import assert from "node:assert/strict";
import { create } from "@bufbuild/protobuf";
import { TimeoutsSchema } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import {
  attemptDeadlineMs,
  compileTimeouts,
  hasTimeFor,
  idleDeadlineMs,
  nextDeadlineMs,
  passedTimeout,
  requestDeadlineMs,
} from "./timeouts.ts";

const timeouts = compileTimeouts(create(TimeoutsSchema, { requestMs: 5000, backendRequestMs: 1000, idleMs: 700 }));
const none = compileTimeouts(undefined);
const at = { headMs: 100, attemptMs: 200, movedMs: 300 };

describe("timeouts", () => {
  it("count from the request's head, the attempt's begin and the last octet", () => {
    assert.deepEqual(
      [requestDeadlineMs(timeouts, 100), attemptDeadlineMs(timeouts, 200), idleDeadlineMs(timeouts, 300)],
      [5100, 1200, 1000],
    );
  });
  it("never pass where there is none", () => {
    assert.equal(nextDeadlineMs(none, at), Infinity);
    assert.equal(passedTimeout(none, at, 1e15), null);
    assert.equal(hasTimeFor(none, 0, 1e15, 1e15), true);
  });
  it("want to be looked at when the first of them passes", () => {
    assert.equal(nextDeadlineMs(timeouts, at), 1000);
    assert.equal(nextDeadlineMs(timeouts, { ...at, movedMs: 900 }), 1200);
    assert.equal(nextDeadlineMs(timeouts, { headMs: 100, attemptMs: Infinity, movedMs: Infinity }), 5100);
  });
  it.each([
    [999, null],
    [1000, "WEFT_IDLE_TIMEOUT"],
    [1200, "WEFT_BACKEND_TIMEOUT"],
    [5100, "WEFT_REQUEST_TIMEOUT"],
  ])("at %d ms are %s, the request's before the attempt's before the idle one", (nowMs, code) => {
    assert.equal(passedTimeout(timeouts, at, nowMs), code);
  });
  it("leave no time for an attempt that would begin at the deadline or after", () => {
    assert.equal(hasTimeFor(timeouts, 100, 5000, 99), true);
    assert.equal(hasTimeFor(timeouts, 100, 5000, 100), false);
  });
});
