import assert from "node:assert/strict";
import { create } from "@bufbuild/protobuf";
import { RetrySchema } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { type AttemptOutcome, backoffMs, compileRetry, judgeRetry, retryable } from "./retry.ts";

const policy = compileRetry(create(RetrySchema, { attempts: 2, codes: [502, 503], backoffMs: 25 }));
const daring = compileRetry(create(RetrySchema, { attempts: 2, codes: [502, 503], nonIdempotent: true }));

const outcome = (o: Partial<AttemptOutcome>): AttemptOutcome => ({
  method: "GET",
  end: "response",
  status: 0,
  reused: false,
  answered: false,
  headForwarded: false,
  replayable: true,
  policyRetries: 0,
  unprocessedRetries: 0,
  ...o,
});

describe("a failed attempt", () => {
  const response = { end: "response", status: 503, answered: true } as const;
  const table: [string, typeof policy, Partial<AttemptOutcome>, ReturnType<typeof judgeRetry>][] = [
    ["with a listed status is tried again", policy, response, "policy"],
    ["with another status is not", policy, { ...response, status: 500 }, "never"],
    ["with a listed status is not without a policy", null, response, "never"],
    ["is not tried again for a POST", policy, { ...response, method: "POST" }, "never"],
    ["is not tried again for a PATCH", policy, { ...response, method: "PATCH" }, "never"],
    ["is tried again for a PUT", policy, { ...response, method: "PUT" }, "policy"],
    ["is tried again for a DELETE", policy, { ...response, method: "DELETE" }, "policy"],
    ["of a method in other case is not idempotent", policy, { ...response, method: "get" }, "never"],
    ["is tried again for a POST when the policy says so", daring, { ...response, method: "POST" }, "policy"],
    ["is tried again twice", policy, { ...response, policyRetries: 1 }, "policy"],
    ["is not tried again a third time", policy, { ...response, policyRetries: 2 }, "never"],
    ["is final once its head went downstream", policy, { ...response, headForwarded: true }, "never"],
    ["is final when the body is gone", policy, { ...response, replayable: false }, "never"],
    ["by its own timeout is tried again", policy, { end: "timeout" }, "policy"],
    ["by its own timeout is not without a policy", null, { end: "timeout" }, "never"],
    ["by its own timeout is not for a POST", policy, { end: "timeout", method: "POST" }, "never"],
    ["by a reset is tried again", policy, { end: "reset" }, "policy"],
    ["by a reset is not without a policy", null, { end: "reset" }, "never"],
    ["that did not connect is tried again without a policy", null, { end: "connect-failed" }, "unprocessed"],
    ["that did not connect is tried again for a POST", null, { end: "connect-failed", method: "POST" }, "unprocessed"],
    ["that did not connect is final when the body is gone", null, { end: "connect-failed", replayable: false }, "never"],
    ["that was refused is tried again for a POST", null, { end: "refused", method: "POST", reused: true }, "unprocessed"],
    ["that was refused after it was answered was processed", null, { end: "refused", answered: true }, "never"],
    ["that was refused twice is given up without a policy", null, { end: "refused", unprocessedRetries: 2 }, "never"],
    [
      "that was refused twice goes to the policy, also for a POST",
      policy,
      { end: "refused", method: "POST", unprocessedRetries: 2 },
      "policy",
    ],
    [
      "that was refused is given up when both accounts are spent",
      policy,
      { end: "refused", unprocessedRetries: 2, policyRetries: 2 },
      "never",
    ],
    ["that lost a reused connection is tried again without a policy", null, { end: "lost", reused: true }, "unprocessed"],
    ["that lost a reused connection is not for a POST", null, { end: "lost", reused: true, method: "POST" }, "never"],
    [
      "that lost a reused connection after a byte of answer is not without a policy",
      null,
      { end: "lost", reused: true, answered: true },
      "never",
    ],
    ["that lost a fresh connection is not without a policy", null, { end: "lost" }, "never"],
    ["that lost a fresh connection is with one", policy, { end: "lost" }, "policy"],
    ["that lost a connection is not for a POST, policy or not", policy, { end: "lost", reused: true, method: "POST" }, "never"],
  ];
  it.each(table)("%s", (_, given, changes, verdict) => {
    const attempt = outcome(changes);
    assert.equal(judgeRetry(given, attempt), verdict);
    assert.equal(retryable(given, attempt), verdict !== "never");
  });
  it("is tried again at most attempts + 2 times, whatever happens", () => {
    const attempt = { ...outcome({ end: "refused" }) };
    let tries = 0;
    for (let verdict = judgeRetry(policy, attempt); verdict !== "never"; verdict = judgeRetry(policy, attempt)) {
      tries++;
      Object.assign(attempt, { [verdict === "policy" ? "policyRetries" : "unprocessedRetries"]: tries <= 2 ? tries : tries - 2 });
    }
    assert.equal(tries, 4);
  });
});

describe("a policy without attempts", () => {
  it("is none", () => {
    assert.equal(compileRetry(create(RetrySchema, { codes: [503] })), null);
  });
});

describe("the wait before a further attempt", () => {
  it("is drawn from an interval that doubles from 25 ms and ends at 250", () => {
    assert.deepEqual(
      [1, 2, 3, 4, 5, 6, 60].map((attempt) => backoffMs(policy, attempt, 1)),
      [25, 50, 100, 200, 250, 250, 250],
    );
    assert.deepEqual(
      [0, 0.5].map((r) => backoffMs(policy, 2, r)),
      [0, 25],
    );
  });
  it("has the default without a policy, or with none in it", () => {
    assert.deepEqual(
      [null, daring].map((given) => backoffMs(given, 1, 1)),
      [25, 25],
    );
  });
  it("grows to ten times what the policy says", () => {
    const slow = compileRetry(create(RetrySchema, { attempts: 1, backoffMs: 1000 }));
    assert.deepEqual(
      [1, 2, 9].map((attempt) => backoffMs(slow, attempt, 1)),
      [1000, 2000, 10_000],
    );
  });
});
