import assert from "node:assert/strict";
import { SIDECAR_ENV } from "#api/sidecar.ts";
import { parseBootstrap } from "#proxy/bootstrap.ts";
import { mesh } from "./patch.ts";
import { list, record, text, type Json } from "./pod.ts";
import { SETTINGS } from "./test-settings.ts";

/** What the kubelet makes of a value: variables that come before it are replaced, `$$` is one dollar, all else stays. */
function expand(value: string, before: ReadonlyMap<string, string>): string {
  return value.replace(/\$(\$|\(([A-Za-z_][\w.-]*)\))/g, (whole, mark: string, name: string | undefined) => {
    if (mark === "$") return "$";
    return before.get(name ?? "") ?? whole;
  });
}

/** The environment of the proxy in a running pod. */
function environmentOf(pod: Json, downward: Readonly<Record<string, string>>): ReadonlyMap<string, string> {
  const proxy = list(record(mesh(pod, SETTINGS)["spec"])["initContainers"]).map(record)[1];
  const result = new Map<string, string>();
  for (const variable of list(proxy?.["env"]).map(record)) {
    const field = text(record(record(variable["valueFrom"])["fieldRef"])["fieldPath"]);
    result.set(text(variable["name"]), field === "" ? expand(text(variable["value"]), result) : (downward[field] ?? ""));
  }
  return result;
}

const PLACE = {
  "metadata.name": "cart-7d9f-x",
  "metadata.namespace": "shop",
  "metadata.uid": "0b3c",
  "status.podIP": "fd00::7",
  "status.podIPs": "fd00::7,10.0.0.7",
  "spec.serviceAccountName": "cart",
};

describe("what the proxy of an injected pod is told", () => {
  it("is a bootstrap that the proxy takes, with the pod's own name, account and address", () => {
    const environment = environmentOf({ spec: { containers: [{ name: "app" }] } }, PLACE);
    assert.deepEqual(parseBootstrap(environment.get(SIDECAR_ENV.bootstrap) ?? ""), {
      workload: { namespace: "shop", pod: "cart-7d9f-x", serviceAccount: "cart" },
      trustDomain: "cluster.local",
      controlPlane: { address: "weft-operator.weft-system.svc:16810", bundlePath: "/run/weft/trust-bundle.pem" },
      tokenPath: "/var/run/secrets/weft/token",
      stateDir: "/run/weft/state",
      podAddress: "fd00::7",
      appAddress: "fd00::7",
      inbound: [],
      outbound: [],
      adminPort: 16803,
      adminSocket: "/run/weft/admin.sock",
      logLevel: "info",
    });
  });

  it("has the probes as their author wrote them, dollar signs and variables' names included", () => {
    const headers = [{ name: "X-Odd", value: '$(WEFT_POD_IP) $$(A) $5 \\u0024 "$"' }];
    const app = { name: "app", livenessProbe: { httpGet: { port: 8080, path: "/$(WEFT_POD_NAME)", httpHeaders: headers } } };
    const environment = environmentOf({ spec: { containers: [app] } }, PLACE);
    assert.deepEqual(JSON.parse(environment.get(SIDECAR_ENV.probes) ?? ""), {
      "app/liveness": { type: "http", port: 8080, path: "/$(WEFT_POD_NAME)", scheme: "HTTP", headers, timeoutSeconds: 1 },
    });
  });
});
