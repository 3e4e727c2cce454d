import assert from "node:assert/strict";
import { ManualClock } from "#testing/manual-clock.ts";
import { drained } from "./drain.ts";

/** Milliseconds until `drained` resolves when its questions are answered so in turn, the last one again and again. */
async function took(answers: readonly (number | null | "never")[]): Promise<number> {
  const clock = new ManualClock();
  const startMs = clock.monotonicMs();
  let asked = 0;
  let doneMs = Number.NaN;
  const pending = (): Promise<number | null> => {
    const answer = answers[Math.min(asked++, answers.length - 1)] ?? null;
    return answer === "never" ? new Promise(() => {}) : Promise.resolve(answer);
  };
  void drained(clock, pending).then(() => (doneMs = clock.monotonicMs() - startMs));
  for (let ms = 0; ms < 3000 && Number.isNaN(doneMs); ms += 10) {
    clock.advance(10);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return doneMs;
}

describe("the wait before a pod is stopped", () => {
  it.each([
    { name: "two questions and a moment when all have heard", answers: [0], ms: 350 },
    { name: "until all have heard", answers: [2, 1, 0], ms: 450 },
    { name: "longer when one fell behind in between", answers: [0, 1, 0], ms: 450 },
    { name: "a second while somebody does not answer", answers: [1], ms: 1000 },
    { name: "a second without an operator", answers: [null], ms: 1000 },
    { name: "a second with one that hangs", answers: ["never" as const], ms: 1000 },
  ])("is $name", async ({ answers, ms }) => {
    const found = await took(answers);
    assert.ok(found >= ms && found <= ms + 60, `${found} ms`);
  });
});
