import assert from "node:assert/strict";
import { METRICS, type MetricName } from "#api/metrics.ts";
import { SystemClock } from "./clock.ts";
import { createLogger } from "./logger.ts";
import { MetricsRegistry, startAdminServer } from "./metrics-server.ts";

describe("the metrics registry", () => {
  it("takes every metric that api/metrics.ts defines", async () => {
    const text = await new MetricsRegistry(Object.keys(METRICS) as MetricName[]).text();
    for (const [name, { type }] of Object.entries(METRICS)) assert.ok(text.includes(`# TYPE ${name} ${type}\n`), name);
  });

  it("adds, sets and observes, and asks for gauges at each scrape", async () => {
    const metrics = new MetricsRegistry(["weft_ca_issued_total", "weft_operator_streams", "weft_operator_plan_duration_seconds"]);
    let streams = 0;
    metrics.onScrape(() => metrics.set("weft_operator_streams", {}, ++streams));
    metrics.add("weft_ca_issued_total", { outcome: "issued" }, 3);
    metrics.observe("weft_operator_plan_duration_seconds", {}, 0.002);
    await metrics.text();
    const text = await metrics.text();
    assert.match(text, /weft_ca_issued_total\{outcome="issued"\} 3/);
    assert.match(text, /weft_operator_streams 2/);
    assert.match(text, /weft_operator_plan_duration_seconds_bucket\{le="0.0025"\} 1/);
  });

  it("refuses a metric that was not registered", () => {
    assert.throws(() => new MetricsRegistry([]).add("weft_ca_issued_total", { outcome: "issued" }), /not registered/);
  });
});

describe("the admin server", () => {
  it("tells liveness apart from readiness", async () => {
    let reason: string | null = "waiting for the store";
    const logger = createLogger(() => {}, new SystemClock(), "error");
    const server = await startAdminServer({
      address: "127.0.0.1",
      port: 0,
      metrics: new MetricsRegistry([]),
      notReady: () => reason,
      logger,
    });
    const get = async (path: string): Promise<string> => {
      const response = await fetch(`http://127.0.0.1:${server.port}${path}`);
      return `${response.status} ${(await response.text()).trim()}`;
    };
    assert.equal(await get("/livez"), "200 ok");
    assert.equal(await get("/readyz"), "503 waiting for the store");
    reason = null;
    assert.equal(await get("/readyz?verbose"), "200 ok");
    assert.match(await get("/etc/passwd"), /^404/);
    await server.close();
  });

  it("rejects when the port is taken", async () => {
    const logger = createLogger(() => {}, new SystemClock(), "error");
    const options = { address: "127.0.0.1", metrics: new MetricsRegistry([]), notReady: () => null, logger };
    const first = await startAdminServer({ ...options, port: 0 });
    await assert.rejects(startAdminServer({ ...options, port: first.port }), /EADDRINUSE/);
    await first.close();
  });
});
