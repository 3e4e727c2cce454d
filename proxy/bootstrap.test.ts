import assert from "node:assert/strict";
import { parseBootstrap } from "./bootstrap.ts";

const GOOD = {
  workload: { namespace: "shop", pod: "web-1", serviceAccount: "web" },
  trustDomain: "cluster.local",
  controlPlane: { address: "127.0.0.1:16810", bundlePath: "bundle.pem" },
  tokenPath: "token",
  stateDir: "state",
  podAddress: "127.0.0.2",
  appAddress: "127.0.0.3",
  inbound: [{ port: 80, appPort: 8080 }],
  outbound: [{ address: "127.0.0.4", port: 80, service: { namespace: "shop", name: "cart", port: 80 } }],
  adminPort: 16803,
  adminSocket: "admin.sock",
  logLevel: "info",
};

describe("a bootstrap file", () => {
  it("is taken as it is when nothing is wrong with it", () => {
    assert.deepEqual(parseBootstrap(JSON.stringify(GOOD)), GOOD);
  });

  it("may have no ports and no services", () => {
    assert.deepEqual(parseBootstrap(JSON.stringify({ ...GOOD, inbound: [], outbound: [] })), { ...GOOD, inbound: [], outbound: [] });
  });

  const wrong: readonly { name: string; change: object; problem: RegExp }[] = [
    { name: "no workload", change: { workload: null }, problem: /^workload must be an object$/ },
    { name: "an empty pod", change: { workload: { ...GOOD.workload, pod: "" } }, problem: /^workload\.pod must be a text$/ },
    { name: "a trust domain in capitals", change: { trustDomain: "Cluster" }, problem: /^trustDomain must be a trust domain/ },
    { name: "a port that is a text", change: { adminPort: "80" }, problem: /^adminPort must be a port, 1 to 65535$/ },
    { name: "port 0", change: { inbound: [{ port: 0, appPort: 1 }] }, problem: /^inbound\[0\]\.port must be a port/ },
    {
      name: "a port above all ports",
      change: { inbound: [...GOOD.inbound, { port: 1, appPort: 65536 }] },
      problem: /^inbound\[1\]\.appPort must be a port/,
    },
    { name: "a list that is an object", change: { outbound: {} }, problem: /^outbound must be a list$/ },
    {
      name: "a service without its name",
      change: { outbound: [{ ...GOOD.outbound[0], service: { namespace: "a", port: 1 } }] },
      problem: /^outbound\[0\]\.service\.name must be a text$/,
    },
    { name: "an unknown log level", change: { logLevel: "loud" }, problem: /^logLevel must be error, warn, info or debug$/ },
  ];
  for (const { name, change, problem } of wrong) {
    it(`is refused by name of the field for ${name}`, () => {
      const result = parseBootstrap(JSON.stringify({ ...GOOD, ...change })) as { problem: string };
      assert.match(result.problem, problem);
    });
  }

  it("is refused when it is no JSON, or no object", () => {
    const results = ["", "{", "null", "[]"].map((text) => (parseBootstrap(text) as { problem: string }).problem);
    assert.deepEqual(
      results.map((r) => r.split(":")[0]),
      ["not JSON", "not JSON", " must be an object", " must be an object"],
    );
  });
});
