import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { Clock } from "#api/clock.ts";
import type { Pod } from "#api/resources/kube.ts";
import { SystemClock } from "#runtime/clock.ts";
import type { RunEvent } from "./events.ts";
import { PodProcesses } from "./pod.ts";
import type { Programs } from "./programs.ts";
import { until } from "./testdata/until.ts";

const system = new SystemClock();
/** Waits are twenty times shorter: ten seconds are half of one. */
const hasty: Clock = {
  wallMs: () => system.wallMs(),
  monotonicMs: () => system.monotonicMs(),
  after: (ms, f) => system.after(ms / 20, f),
};
const SIDECAR = path.join(import.meta.dirname, "testdata/fake-sidecar.js");
const programs: Programs = {
  operator: () => assert.fail("a pod starts no operator"),
  proxy: (bootstrap) => ({ file: process.execPath, args: [SIDECAR, "--bootstrap", bootstrap], env: {}, cwd: "/" }),
  app: (file, argv, env, cwd) => ({ file, args: argv.slice(1), env, cwd }),
};
// Outside of what runs take.
const [POD_ADDRESS, APP_ADDRESS] = ["127.78.0.2", "127.78.0.3"];

describe("a pod", () => {
  let folder: string;
  let pod: PodProcesses;
  let events: RunEvent[];

  const start = (script: string): void => {
    const object: Pod = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "web", namespace: "shop", uid: "1" },
      spec: { containers: [{ name: "app", command: ["node", "-e", script], ports: [{ containerPort: 8080 }] }] },
    };
    const options = {
      pod: object,
      podAddress: POD_ADDRESS,
      appAddress: APP_ADDRESS,
      upstreams: [],
      token: "token",
      trustDomain: "cluster.local",
      operatorAddress: "127.78.0.1:16810",
      bundlePath: path.join(folder, "bundle.pem"),
      folder: path.join(folder, "pod"),
      logFolder: path.join(folder, "logs"),
      adminSocket: path.join(folder, "admin.sock"),
      root: folder,
      inherited: { PATH: path.dirname(process.execPath) },
      logLevel: "info",
    } as const;
    const locate = (field: string) => ({ file: "web.yaml", line: 7, column: 3, path: field });
    pod = new PodProcesses(options, { clock: hasty, programs, report: (event) => events.push(event), onChange: () => {}, locate });
    pod.start();
  };

  beforeEach(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), "weft-pod-test-"));
    events = [];
  });
  afterEach(async () => {
    await pod.terminateNow(2000);
    fs.rmSync(folder, { recursive: true, force: true });
  });

  it("whose app runs but listens elsewhere is reported after ten seconds, with address, place and remedy", async () => {
    start("require('net').createServer().listen(8080, '127.78.0.4')");
    const event = await until("a problem", () => events.find((e) => e.type === "problem"));
    assert.ok(event.type === "problem");
    const { code, severity, file, path: field, message, remedy } = event.problem;
    assert.deepEqual(
      [code, severity, file, field],
      ["WEFT_APP_NOT_LISTENING", "warning", "web.yaml", "spec.containers[0].ports[0].containerPort"],
    );
    assert.match(message, /pod shop\/web: .* does not listen on 127\.78\.0\.3:8080/);
    assert.match(remedy, /HOST.*PORT/);
    assert.equal(pod.ready, false);
    assert.equal(pod.state.reason, "AppNotListening");
  }, 30_000);

  it("whose app listens where it was told is ready and not reported", async () => {
    start("require('net').createServer().listen(process.env.PORT, process.env.HOST)");
    await until("ready", () => pod.ready);
    await new Promise<void>((resolve) => void hasty.after(12_000, resolve));
    assert.deepEqual(
      events.map((e) => e.type),
      ["pod-ready"],
    );
  }, 30_000);
});
