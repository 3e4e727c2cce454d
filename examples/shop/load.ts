import http from "node:http";
import { say } from "./service.ts";
import { addressOf } from "./upstream.ts";

/**
 * Visitors: RATE requests a second (default 25) to the frontend, sent when they are due and not when the last one was
 * answered, so that a slow shop does not get fewer of them. Failed requests are logged and never sent again.
 */
const RATE = Number(process.env["RATE"] ?? 25);
const REPORT_EVERY_MS = 10_000;
const ANSWER_MS = 15_000;
/** Most requests due but not yet sent that are made up for after a pause of this process. */
const BEHIND_MAX = 50;
const USERS = 50;
const PRODUCTS = ["shuttle", "heddle", "reed", "bobbin", "loom"] as const;

const { host, port } = addressOf("frontend", 8080);
const agent = new http.Agent({ keepAlive: true });
const counts = { answered: 0, failed: 0 };
let sent = 0;

interface Visit {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly body: string;
}

/** The nth visit: mostly looking, sometimes buying. The same n, the same visit. */
function visit(n: number): Visit {
  const user = `visitor-${n % USERS}`;
  const product = PRODUCTS[n % PRODUCTS.length]!;
  const kind = (n * 7) % 20;
  if (kind < 5) return { method: "GET", path: "/api/products", body: "" };
  if (kind < 14) return { method: "GET", path: `/api/products/${product}`, body: "" };
  if (kind < 17) return { method: "POST", path: `/api/cart/${user}`, body: JSON.stringify({ product, quantity: 1 }) };
  if (kind < 19) return { method: "GET", path: `/api/cart/${user}`, body: "" };
  return { method: "POST", path: `/api/checkout/${user}`, body: "{}" };
}

function send({ method, path, body }: Visit): void {
  const fail = (why: string): void => {
    counts.failed++;
    say(`failed: ${method} ${path}: ${why}`);
  };
  const framing = body === "" ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
  const request = http.request(
    { agent, host, port, method, path, timeout: ANSWER_MS, headers: { host: "frontend:8080", ...framing } },
    (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        if (text.length < 200) text += chunk;
      });
      response.on("error", (error) => fail(error.message));
      response.on("end", () => {
        const { statusCode = 0 } = response;
        if (statusCode >= 500) fail(`${statusCode} ${text.trim()}`);
        else counts.answered++;
      });
    },
  );
  request.on("timeout", () => request.destroy(new Error(`no answer within ${ANSWER_MS} ms`)));
  request.on("error", (error) => fail(error.message));
  request.end(body);
}

if (!(RATE > 0)) throw new Error("RATE must be a number of requests a second above 0");
say(`${RATE} visitors a second; open the shop as they do: http://${host}:${port}/`);
const startedMs = performance.now();
let skipped = 0;
setInterval(
  () => {
    const due = Math.floor(((performance.now() - startedMs) / 1000) * RATE) - skipped;
    if (due - sent > BEHIND_MAX) skipped += due - sent - BEHIND_MAX;
    const now = Math.min(due, sent + BEHIND_MAX);
    while (sent < now) send(visit(sent++));
  },
  Math.max(5, Math.min(100, 1000 / RATE)),
);
setInterval(() => {
  say(`${counts.answered} answered, ${counts.failed} failed in the last ${REPORT_EVERY_MS / 1000} s`);
  counts.answered = 0;
  counts.failed = 0;
}, REPORT_EVERY_MS);
process.once("SIGTERM", () => process.exit(0));
