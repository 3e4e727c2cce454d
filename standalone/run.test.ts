import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { KubeObject, Pod } from "#api/resources/kube.ts";
import { control } from "./client.ts";
import { until } from "./testdata/until.ts";

const FIXTURE = path.resolve(import.meta.dirname, "testdata/run-fakes.ts");
const LISTEN = "require('net').createServer(s=>s.end()).listen(process.env.PORT,process.env.HOST)";

interface PodState {
  readonly name: string;
  readonly ready: boolean;
  readonly appAddress: string;
  readonly podAddress: string;
  readonly restarts: number;
  readonly pids: { readonly proxy: number; readonly app: readonly number[] };
}

interface Run {
  readonly child: ChildProcess;
  readonly folder: string;
  readonly state: string;
  readonly events: Record<string, unknown>[];
  readonly exited: Promise<number | null>;
  stderr: string;
}

const runs: Run[] = [];

function folderOf(files: Readonly<Record<string, string>>): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "weft-run-test-"));
  for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(folder, name), text);
  return folder;
}

function start(files: Readonly<Record<string, string>>): Run {
  const folder = folderOf(files);
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", FIXTURE, folder], { stdio: ["ignore", "pipe", "pipe"] });
  const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
  const run: Run = { child, folder, state: path.join(folder, ".weft"), events: [], exited, stderr: "" };
  let rest = "";
  child.stdout?.on("data", (chunk: Buffer) => {
    const lines = (rest + chunk.toString()).split("\n");
    rest = lines.pop() ?? "";
    run.events.push(...lines.map((l) => JSON.parse(l) as Record<string, unknown>));
  });
  child.stderr?.on("data", (chunk: Buffer) => (run.stderr += chunk.toString()));
  runs.push(run);
  return run;
}

async function pods(run: Run): Promise<readonly PodState[]> {
  const { body } = await control(run.state, "GET", "/v1/state");
  return (body as { pods: readonly PodState[] }).pods;
}

async function objects(run: Run, query: string): Promise<readonly KubeObject[]> {
  const { body } = await control(run.state, "GET", `/v1/objects?${query}`);
  return (body as { objects: readonly KubeObject[] }).objects;
}

function whenReady(run: Run, count: number): Promise<readonly PodState[]> {
  return until(`${count} pods ready`, async () => {
    const all = await pods(run);
    return all.length === count && all.every((p) => p.ready) ? all : null;
  });
}

/** Pids of processes that have `marker` in their environment. */
function marked(marker: string): string[] {
  return fs.readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return fs.readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(marker);
    } catch {
      return false;
    }
  });
}

function runIdOf(pid: number): string {
  const found = fs
    .readFileSync(`/proc/${pid}/environ`, "latin1")
    .split("\0")
    .find((v) => v.startsWith("WEFT_RUN_ID="));
  return found ?? "none";
}

function deployment(name: string, replicas: number, script: string, extra = ""): string {
  return `apiVersion: apps/v1
kind: Deployment
metadata: {name: ${name}, namespace: shop}
spec:
  replicas: ${replicas}
  selector: {matchLabels: {app: ${name}}}
  template:
    metadata: {labels: {app: ${name}}}
    spec:
      containers:
      - name: ${name}
        command: ["node", "-e", ${JSON.stringify(script)}]
        ports: [{name: http, containerPort: 80}]
${extra}---
apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: shop}
spec: {selector: {app: ${name}}, ports: [{port: 80, targetPort: http}]}
`;
}

afterEach(async () => {
  for (const run of runs.splice(0)) {
    if (run.child.exitCode === null && run.child.signalCode === null) run.child.kill("SIGTERM");
    await run.exited;
    fs.rmSync(run.folder, { recursive: true, force: true });
  }
});

describe("a run", () => {
  it("brings pods up, tells apps where to listen, and reports the first routed request", async () => {
    const run = start({ "web.yaml": deployment("web", 2, LISTEN) });
    const all = await whenReady(run, 2);
    assert.deepEqual(
      all.map((p) => p.name),
      ["shop/web-0", "shop/web-1"],
    );
    const [slice] = (await objects(run, "kind=EndpointSlice")) as (KubeObject & {
      endpoints: { addresses: string[]; conditions: { ready: boolean } }[];
      ports: { port: number }[];
    })[];
    assert.deepEqual(
      slice?.endpoints.map((e) => [e.addresses[0], e.conditions.ready]),
      all.map((p) => [p.podAddress, true]),
    );
    assert.deepEqual(
      slice?.ports.map((p) => p.port),
      [10080],
      "80 needs root: the endpoint's port is the reachable one",
    );
    const first = await until("first-request event", () => run.events.find((e) => e["type"] === "first-request"));
    assert.equal((first["edge"] as { lastStatus: string }).lastStatus, "200");
  }, 30_000);

  it("leaves no process behind two seconds after kill -9, not even one that left its session", async () => {
    const script = `require('child_process').spawn('sleep',['1000'],{detached:true});${LISTEN}`;
    const run = start({ "web.yaml": deployment("web", 2, script) });
    const [pod] = await whenReady(run, 2);
    const marker = runIdOf(pod!.pids.proxy);
    const before = marked(marker).length;
    run.child.kill("SIGKILL");
    await until("nothing left", () => marked(marker).length === 0, 2000);
    assert.ok(before >= 7, `operator, two sidecars, two apps and their two children: ${before}`);
  }, 30_000);

  it("ends within two seconds of Ctrl-C though an app ignores SIGTERM", async () => {
    const run = start({ "web.yaml": deployment("web", 1, `process.on('SIGTERM',()=>{});${LISTEN}`) });
    const [pod] = await whenReady(run, 1);
    const marker = runIdOf(pod!.pids.proxy);
    run.child.kill("SIGINT");
    await until("nothing left", () => marked(marker).length === 0 && run.child.exitCode !== null, 2000);
    assert.equal(run.child.exitCode, 0);
  }, 30_000);

  it("takes a killed app out of the endpoints at once, and brings it back", async () => {
    const run = start({ "web.yaml": deployment("web", 1, LISTEN) });
    const [pod] = await whenReady(run, 1);
    process.kill(pod!.pids.app[0]!, "SIGKILL");
    await until("not ready", async () => (await pods(run))[0]?.ready === false, 200);
    const [again] = await whenReady(run, 1);
    assert.equal(again?.restarts, 1);
    const crash = await until("crash event", () => run.events.find((e) => e["type"] === "crashed"));
    assert.equal(crash["how"], "signal SIGKILL");
  }, 30_000);

  it("takes over a changed template pod by pod, and keeps serving until the new one is ready", async () => {
    const run = start({ "web.yaml": deployment("web", 1, LISTEN) });
    await whenReady(run, 1);
    const seen: string[][] = [];
    fs.writeFileSync(path.join(run.folder, "web.yaml"), deployment("web", 1, `${LISTEN};1`));
    await until("replaced", async () => {
      const now = await pods(run);
      seen.push(now.filter((p) => p.ready).map((p) => p.name));
      return now.length === 1 && now[0]?.name === "shop/web-1" && now[0].ready;
    });
    assert.ok(
      seen.every((ready) => ready.length >= 1),
      `there was always a ready pod: ${JSON.stringify(seen)}`,
    );
  }, 30_000);

  it("scales with replicas, up and down", async () => {
    const run = start({ "web.yaml": deployment("web", 1, LISTEN) });
    await whenReady(run, 1);
    fs.writeFileSync(path.join(run.folder, "web.yaml"), deployment("web", 3, LISTEN));
    await whenReady(run, 3);
    fs.writeFileSync(path.join(run.folder, "web.yaml"), deployment("web", 2, LISTEN));
    assert.deepEqual(
      (await whenReady(run, 2)).map((p) => p.name),
      ["shop/web-0", "shop/web-1"],
    );
  }, 30_000);

  it("keeps what a file said when it breaks, and says where", async () => {
    const run = start({ "web.yaml": deployment("web", 1, LISTEN) });
    const [pod] = await whenReady(run, 1);
    fs.writeFileSync(path.join(run.folder, "web.yaml"), deployment("web", 1, LISTEN).replace("command:", "comand:"));
    const found = await until("problem", () =>
      run.events.find((e) => (e["problem"] as { severity?: string } | undefined)?.severity === "error"),
    );
    const { file, line, column, path: field, remedy } = found["problem"] as Record<string, unknown>;
    assert.deepEqual(
      [path.basename(String(file)), line, column, field, remedy],
      ["web.yaml", 12, 9, "spec.template.spec.containers[0].comand", "did you mean command?"],
    );
    await until("kept", () => run.events.find((e) => e["type"] === "kept"));
    assert.deepEqual(
      (await pods(run)).map((p) => p.pids),
      [pod!.pids],
    );
  }, 30_000);

  it("holds a pod and its parts down and brings them back", async () => {
    const run = start({ "web.yaml": deployment("web", 1, LISTEN) });
    await whenReady(run, 1);
    assert.equal((await control(run.state, "POST", "/v1/stop", { target: "web-0" })).status, 200);
    assert.deepEqual(
      (await pods(run)).map((p) => [p.ready, p.pids]),
      [[false, { proxy: null, app: [null] }]],
    );
    assert.equal((await control(run.state, "POST", "/v1/start", { target: "shop/web-0" })).status, 200);
    assert.equal((await pods(run))[0]?.ready, true);
    assert.equal((await control(run.state, "POST", "/v1/stop", { target: "nobody" })).status, 404);
    assert.equal((await control(run.state, "POST", "/v1/stop", { target: "operator" })).status, 200);
    const { body } = await control(run.state, "GET", "/v1/state");
    const { held, pid } = (body as { operator: { held: boolean; pid: number | null } }).operator;
    assert.deepEqual([held, pid], [true, null]);
  }, 30_000);

  it("starts nothing when a manifest is wrong, and lists every problem", async () => {
    const run = start({ "a.yaml": deployment("web", 1, LISTEN).replace(/command:.*/, ""), "b.yaml": "kind: [" });
    assert.equal(await run.exited, 1);
    const codes = run.events.map((e) => (e["problem"] as { code: string } | undefined)?.code);
    assert.deepEqual([...new Set(codes)], ["WEFT_COMMAND_MISSING", "WEFT_BAD_YAML"]);
    assert.match(run.stderr, /nothing was started/);
  }, 30_000);

  it("is refused in a state folder that another run uses", async () => {
    const run = start({ "web.yaml": deployment("web", 1, LISTEN) });
    await whenReady(run, 1);
    const second = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", FIXTURE, run.folder], { stdio: "ignore" });
    assert.equal(await new Promise((resolve) => second.once("exit", resolve)), 1);
    assert.equal((await pods(run)).length, 1);
  }, 30_000);

  it("relays the sidecar's own admin socket to the owner", async () => {
    const run = start({ "web.yaml": deployment("web", 1, LISTEN) });
    await whenReady(run, 1);
    const { body } = await control(run.state, "GET", "/v1/pods/shop/web-0/config");
    assert.equal(body, "GET /config");
    assert.equal(fs.statSync(path.join(run.state, "control.sock")).mode & 0o777, 0o600);
    assert.equal(fs.statSync(run.state).mode & 0o777, 0o700);
    const [stored] = (await objects(run, "kind=Pod&name=web-0")) as Pod[];
    assert.equal(stored?.status?.phase, "Running");
  }, 30_000);
});
