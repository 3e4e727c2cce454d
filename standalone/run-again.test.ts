import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { control } from "./client.ts";
import { until } from "./testdata/until.ts";

// The real thing: operator, CA, sidecars, mTLS. A state folder outlives a run, and so may what lies in it.

const MAIN = path.resolve(import.meta.dirname, "../cli/main.ts");
const ECHO = "require('http').createServer((q,r)=>r.end('hello')).listen(process.env.PORT,process.env.HOST)";
const CALLER =
  "const{ECHO_SERVICE_HOST:host,ECHO_SERVICE_PORT:port}=process.env;setInterval(()=>require('http').get({host,port},r=>r.resume()).on('error',()=>{}),100)";

function pod(name: string, script: string, extra = ""): string {
  return `---
apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: shop, labels: {app: ${name}}}
spec:
  containers:
  - name: app
    command: [node, -e, ${JSON.stringify(script)}]
${extra}`;
}

const manifests = (policies: number): string => `apiVersion: v1
kind: Service
metadata: {name: echo, namespace: shop}
spec: {selector: {app: echo}, ports: [{name: http, port: 8080}]}
${pod("echo", ECHO, "    ports: [{containerPort: 8080}]\n")}${pod("caller", CALLER)}${Array.from(
  { length: policies },
  (_, i) => `---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: echo-${i}, namespace: shop}
spec: {targetRefs: [{group: "", kind: Service, name: echo}]}
`,
).join("")}`;

interface Edge {
  readonly from: string;
  readonly tls: string;
  readonly lastStatus: string;
}

describe("a run in the state folder of an earlier one", () => {
  let folder: string;
  let state: string;
  let child: ChildProcess;

  const start = (): void => {
    const args = ["--disable-warning=ExperimentalWarning", MAIN, "run", folder, "-o", "json"];
    child = spawn(process.execPath, args, { stdio: "ignore", env: { PATH: process.env["PATH"] ?? "" } });
  };
  /** Once a request of this run was answered over mTLS; the root that its certificates end at. */
  const served = async (): Promise<string> => {
    await until(
      "a request answered over mTLS",
      async () => {
        const { body } = await control(state, "GET", "/v1/state");
        const { edges, pods } = body as { edges: readonly Edge[]; pods: readonly { ready: boolean }[] };
        return pods.every((p) => p.ready) && edges.some((e) => e.lastStatus === "200" && e.tls === "mtls");
      },
      30_000,
    );
    return fs.readFileSync(path.join(state, "operator", "bundle.pem"), "utf8");
  };
  const stop = async (signal: NodeJS.Signals): Promise<void> => {
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await ended;
  };

  beforeEach(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), "weft-again-"));
    state = path.join(folder, ".weft");
  });
  afterEach(async () => {
    await stop("SIGTERM");
    fs.rmSync(folder, { recursive: true, force: true });
  });

  it("serves as the first did, however that ended, and with the same CA", async () => {
    // Many objects first and few later: what the first run's sidecars kept has higher resourceVersions.
    fs.writeFileSync(path.join(folder, "mesh.yaml"), manifests(40));
    start();
    const root = await served();
    await stop("SIGKILL");
    fs.writeFileSync(path.join(folder, "mesh.yaml"), manifests(0));
    start();
    assert.equal(await served(), root);
    await stop("SIGTERM");
    start();
    assert.equal(await served(), root);
    const logs = fs.readdirSync(path.join(state, "logs", "shop")).map((f) => fs.readFileSync(path.join(state, "logs", "shop", f), "utf8"));
    assert.ok(logs.every((log) => !log.includes("WEFT_STALE_DOCUMENT")));
  }, 120_000);
});
