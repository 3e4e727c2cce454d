import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fetchSvid, shopObjects, startTestOperator, type TestOperator, TestStream, trafficPolicy } from "./test-operator.ts";

const SERVICE = "service/shop/web/80";
const targetRefs = [{ group: "", kind: "Service", name: "web" }];
const good = trafficPolicy({ targetRefs, connections: { connectTimeout: "2s" } });
const bad = trafficPolicy({ targetRefs, connections: { connectTimeout: "nonsense" } });

async function connectTimeoutMs(test: TestOperator): Promise<number | undefined> {
  const stream = new TestStream(test.operator.grpcPort, await fetchSvid(test, "shop", "web"));
  stream.hello("web-0");
  stream.subscribe(SERVICE);
  const { body } = await stream.document();
  stream.end();
  return body.case === "service" ? body.value.clusters[0]?.connectTimeoutMs : undefined;
}

describe("an operator that restarts", () => {
  it("keeps the last good generation of a policy that is invalid now, and its CA", async () => {
    const stateDir = mkdtempSync(join(tmpdir(), "weft-restart-"));
    const first = await startTestOperator([...shopObjects(), good], stateDir);
    assert.equal(await connectTimeoutMs(first), 2000);
    const root = (await fetchSvid(first, "shop", "web")).ca;
    await first.operator.stop();
    const second = await startTestOperator([...shopObjects(), bad], stateDir);
    assert.equal(await connectTimeoutMs(second), 2000);
    assert.equal((await fetchSvid(second, "shop", "web")).ca, root);
    await second.close();
  });

  it("starts with a last-good file that is broken, sets it aside and says so", async () => {
    const stateDir = mkdtempSync(join(tmpdir(), "weft-restart-"));
    writeFileSync(join(stateDir, "last-good.json"), '{"version":1,"objects":{"Traf');
    const test = await startTestOperator([...shopObjects(), good], stateDir);
    assert.equal(await connectTimeoutMs(test), 2000);
    assert.ok(existsSync(join(stateDir, "last-good.json.broken")));
    assert.ok(test.log.some((line) => line.includes("WEFT_BAD_STATE")));
    await test.operator.stop();
    assert.ok(readFileSync(join(stateDir, "last-good.json"), "utf8").includes("connectTimeout"));
    await test.close();
  });

  it("does not start with a broken root, and names the file", async () => {
    const stateDir = mkdtempSync(join(tmpdir(), "weft-restart-"));
    await (await startTestOperator([], stateDir)).operator.stop();
    writeFileSync(join(stateDir, "ca", "root.pem"), "gone");
    await assert.rejects(startTestOperator([], stateDir), /WEFT_BAD_STATE: .*root\.pem/);
  });
});
