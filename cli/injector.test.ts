import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { makeServing } from "#injector/test-authority.ts";
import { post } from "#injector/test-server.ts";
import { SystemClock } from "#runtime/clock.ts";

const MAIN = path.resolve(import.meta.dirname, "main.ts");
const weft = (args: readonly string[], input = "") =>
  spawnSync(process.execPath, ["--disable-warning=ExperimentalWarning", MAIN, ...args], {
    encoding: "utf8",
    input,
    env: { PATH: "/usr/bin:/bin" },
  });

let folder: string;
let child: ChildProcess | null = null;
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "weft-injector-"));
});
afterEach(() => {
  child?.kill("SIGKILL");
  rmSync(folder, { recursive: true });
});

async function writeCertificate(): Promise<string> {
  const { certPem, keyPem } = await makeServing(new SystemClock().wallMs());
  writeFileSync(path.join(folder, "tls.crt"), certPem);
  writeFileSync(path.join(folder, "tls.key"), keyPem);
  return certPem;
}

function status(port: number, at: string): Promise<number> {
  return new Promise((resolve, reject) => {
    http
      .get({ host: "127.0.0.1", port, path: at, agent: false }, (response) => resolve(response.resume().statusCode ?? 0))
      .on("error", reject);
  });
}

/** The fields of the log's first line with that message. */
function logged(of: ChildProcess, message: string): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    let text = "";
    of.stderr?.on("data", (chunk: Buffer) => {
      text += chunk.toString("utf8");
      const lines = text
        .split("\n")
        .slice(0, -1)
        .map((line) => JSON.parse(line) as Record<string, unknown>);
      const found = lines.find((line) => line["message"] === message);
      if (found !== undefined) resolve(found);
    });
    of.once("exit", () => reject(new Error(`it ended: ${text}`)));
  });
}

const POD = { apiVersion: "v1", kind: "Pod", metadata: { name: "cart" }, spec: { containers: [{ name: "app", image: "app:1" }] } };

describe("weft injector", () => {
  it("runs: it is ready with certificate and bundle, injects over TLS, and ends with 0 on SIGTERM", async () => {
    const ca = await writeCertificate();
    const args = [
      "injector",
      "--tls-dir",
      folder,
      "--listen",
      "127.0.0.1:0",
      "--admin-port",
      "0",
      "--image",
      "weft:1",
      "--trust-bundle",
      path.join(folder, "tls.crt"),
    ];
    child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", MAIN, ...args], { stdio: ["ignore", "ignore", "pipe"] });
    const { port, adminPort } = await logged(child, "ready");
    const request = { uid: "u", operation: "CREATE", namespace: "shop", kind: { group: "", version: "v1", kind: "Pod" }, object: POD };
    const body = JSON.stringify({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", request });
    const reply = await post(Number(port), ca, "/mutate", body);
    const { response } = JSON.parse(reply.body) as { response: { allowed: boolean; patch: string } };
    const patch = Buffer.from(response.patch, "base64").toString("utf8");
    assert.deepEqual(
      [reply.status, response.allowed, await status(Number(adminPort), "/readyz"), await status(Number(adminPort), "/livez")],
      [200, true, 200, 200],
    );
    assert.ok(patch.includes(JSON.stringify(readFileSync(path.join(folder, "tls.crt"), "utf8"))), "the trust bundle is in the pod");
    const ended = new Promise((resolve) => child!.once("exit", resolve));
    child.kill("SIGTERM");
    await logged(child, "stopping");
    assert.equal(await status(Number(adminPort), "/readyz"), 503);
    assert.equal((await post(Number(port), ca, "/mutate", body)).headers["connection"], "close");
    assert.equal(await ended, 0);
  });

  it("answers 2 to a flag that is wrong", () => {
    const wrong = [
      ["--listen", "nowhere:1"],
      ["--trust-domain", "No Domain"],
      ["--admin-port", "99999"],
    ];
    const base = ["injector", "--tls-dir", folder, "--image", "x", "--trust-bundle", "x"];
    assert.deepEqual(
      wrong.map((flags) => weft([...base, ...flags]).status),
      [2, 2, 2],
    );
  });
});

describe("weft inject", () => {
  const base = (): string[] => ["inject", "-", "--preview", "--image", "weft:1", "--trust-bundle", path.join(folder, "tls.crt")];

  it("writes manifests with sidecars to stdout and what it did to stderr", async () => {
    await writeCertificate();
    const { status: code, stdout, stderr } = weft(base(), JSON.stringify(POD));
    assert.deepEqual([code, stderr], [0, "✓ pod/cart injected\n"]);
    assert.match(stdout, /name: weft-proxy[\s\S]*restartPolicy: Always/);
  });

  it("writes nothing to stdout and answers 1 when one pod is refused, so that no part is applied", async () => {
    await writeCertificate();
    const refused = { ...POD, spec: { containers: [{ name: "weft-proxy" }] } };
    const { status: code, stdout, stderr } = weft(base(), `${JSON.stringify(POD)}\n---\n${JSON.stringify(refused)}`);
    assert.deepEqual([code, stdout], [1, ""]);
    assert.match(stderr, /✗ pod\/cart refused: WEFT_RESERVED_NAME: spec\.containers\[0\]\.name/);
  });

  it("answers 1 with what is wrong when bundle or YAML cannot be read", async () => {
    assert.match(weft(base()).stderr, /tls\.crt cannot be read/);
    await writeCertificate();
    assert.match(weft(base(), "a: [").stderr, /WEFT_BAD_YAML: stdin: /);
  });
});
