import http from "node:http";
import type { Clock } from "#api/clock.ts";
import type { MetricName } from "#api/metrics.ts";
import { PORTS } from "#api/ports.ts";
import { parseExposition } from "./exposition.ts";

/** Longest wait before a pod that leaves is stopped, milliseconds. */
const DRAIN_MS = 1000;
/** Between two questions. Longer than the operator collects changes for, so that a change that it has seen is planned by the next. */
const ASK_MS = 50;
/** For requests that were under way when their callers heard of it, milliseconds. */
const SETTLE_MS = 250;
const SUBSCRIBERS: MetricName = "weft_document_subscribers";
const ANSWER_BYTES_MAX = 1024 * 1024;

/**
 * Waits until every proxy has heard of what changed just now, and a moment for requests under way; a second at most,
 * which is also what it takes while the operator cannot say. `pending`: how many subscriptions wait for an answer.
 */
export async function drained(clock: Clock, pending: () => Promise<number | null>): Promise<void> {
  const endMs = clock.monotonicMs() + DRAIN_MS;
  const wait = (ms: number): Promise<void> =>
    new Promise((resolve) => void clock.after(Math.max(0, Math.min(ms, endMs - clock.monotonicMs())), resolve));
  // Twice in a row: the first may come from between the change and its planning.
  for (let quiet = 0; quiet < 2 && clock.monotonicMs() < endMs; ) {
    await wait(ASK_MS);
    const asked = await Promise.race([pending(), wait(DRAIN_MS).then(() => null)]);
    quiet = asked === 0 ? quiet + 1 : 0;
  }
  await wait(SETTLE_MS);
}

/** Asks the operator how many subscriptions have not acked what they were sent; null when it does not answer. */
export function pendingSubscribers(address: string): Promise<number | null> {
  return new Promise((resolve) => {
    const request = http.get(
      { host: address, port: PORTS.operatorAdmin, path: "/metrics", agent: false, timeout: DRAIN_MS },
      (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on("data", (chunk: Buffer) => {
          size += chunk.length;
          if (size > ANSWER_BYTES_MAX) request.destroy();
          else chunks.push(chunk);
        });
        response.on("end", () => {
          const series = parseExposition(Buffer.concat(chunks).toString("utf8"), (name) => name === SUBSCRIBERS);
          resolve(series.find((s) => s.labels["state"] === "pending")?.value ?? null);
        });
        response.on("error", () => resolve(null));
      },
    );
    request.once("timeout", () => request.destroy());
    request.once("error", () => resolve(null));
    request.once("close", () => resolve(null));
  });
}
