import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { parseAllDocuments } from "yaml";
import { ClusterCertificates } from "#injector/cluster-certificates.ts";
import { list, record, text, type Json } from "#injector/pod.ts";
import { KubeClient } from "#kube/client.ts";
import { Credentials } from "#kube/credentials.ts";
import { kubeconfigAccess } from "#kube/kubeconfig.ts";
import { SystemClock } from "#runtime/clock.ts";
import { createLogger } from "#runtime/logger.ts";
import { HELM_VERSIONS, type HelmMajor, helmBinary } from "#testing/apiserver/helm.ts";
import { type ApiServer, startApiServer } from "#testing/apiserver/server.ts";

/** The charts, by the Helm that people have, on a real API server: who owns which field, who may do what, what stays. */

const run = promisify(execFile);
const clock = new SystemClock();
const CHARTS = path.resolve(import.meta.dirname);
const WEBHOOKS = "/apis/admissionregistration.k8s.io/v1";
const SYSTEM = "/api/v1/namespaces/weft-system";
const ACCOUNT = "system:serviceaccount:weft-system:weft-injector";

describe.each(Object.keys(HELM_VERSIONS).map(Number) as HelmMajor[])("the charts under Helm %d", (major) => {
  let server: ApiServer;
  let client: KubeClient;
  let folder: string;
  let helmFile: string;

  beforeAll(async () => {
    helmFile = await helmBinary(major, () => {});
    server = await startApiServer();
    client = clientOf(null);
    folder = mkdtempSync(path.join(os.tmpdir(), "weft-helm-"));
    await helm("install", "weft-crds", `${CHARTS}/weft-crds`, "--create-namespace");
    await helm("install", "weft", `${CHARTS}/weft`);
  });
  afterAll(async () => {
    client?.close();
    await server?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** As the admin, or as whoever holds the token. */
  function clientOf(token: string | null): KubeClient {
    const access = kubeconfigAccess([{ path: server.kubeconfig, text: readFileSync(server.kubeconfig, "utf8") }]);
    const mine = token === null ? access : { ...access, credential: { kind: "token", token } as const };
    return new KubeClient(mine, new Credentials(mine, clock, {}), clock);
  }

  async function helm(...args: string[]): Promise<string> {
    const env = { PATH: process.env["PATH"] ?? "", HOME: folder, KUBECONFIG: server.kubeconfig };
    const preview = args.includes(`${CHARTS}/weft`) ? ["--set", "preview=true"] : [];
    return (await run(helmFile, [...args, ...preview, "--namespace", "weft-system"], { env, maxBuffer: 16 * 1024 * 1024 })).stdout;
  }

  const get = async (at: string): Promise<Json> => record((await client.request({ method: "GET", path: at })).body);
  const names = async (at: string): Promise<string[]> =>
    list((await get(at))["items"]).map((item) => text(record(record(item)["metadata"])["name"]));
  async function runTime(): Promise<unknown> {
    const bundles = async (plural: string): Promise<unknown[]> =>
      list((await get(`${WEBHOOKS}/${plural}/weft-injector`))["webhooks"]).map(
        (webhook) => record(record(webhook)["clientConfig"])["caBundle"],
      );
    return {
      mutating: await bundles("mutatingwebhookconfigurations"),
      validating: await bundles("validatingwebhookconfigurations"),
      secret: record(await get(`${SYSTEM}/secrets/weft-injector-tls`))["data"],
      ca: record(await get(`${SYSTEM}/secrets/weft-ca`))["data"],
      trust: record(await get(`${SYSTEM}/configmaps/weft-trust-bundle`))["data"],
    };
  }

  /** What injector and operator write, the injector with its own rights. */
  async function writeRunTimeFields(): Promise<void> {
    const body = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {} };
    const asked = await client.request({ method: "POST", path: `${SYSTEM}/serviceaccounts/weft-injector/token`, body });
    const injector = clientOf(text(record(record(asked.body)["status"])["token"]));
    let served = false;
    const certificates = new ClusterCertificates({
      client: injector,
      clock,
      randomBytes,
      logger: createLogger((line) => (served ||= line.includes("ValidatingWebhookConfiguration")), clock, "info"),
      namespace: "weft-system",
      secret: "weft-injector-tls",
      webhooks: "weft-injector",
      dnsNames: ["weft-injector.weft-system.svc"],
    });
    const refused: string[] = [];
    certificates.start(
      () => {},
      (why) => refused.push(why),
    );
    while (!served && refused.length === 0) await new Promise<void>((resolve) => clock.after(20, resolve));
    certificates.close();
    assert.deepEqual(refused, []);
    await injector.request({ method: "GET", path: `${SYSTEM}/configmaps/weft-trust-bundle` });
    injector.close();
    for (const [at, data] of [
      ["secrets/weft-ca", { root: "eA==" }],
      ["configmaps/weft-trust-bundle", { "bundle.pem": "x" }],
    ] as const) {
      await client.request({ method: "PUT", path: `${SYSTEM}/${at}`, body: { ...(await get(`${SYSTEM}/${at}`)), data } });
    }
  }

  it("leave to injector and operator what those write, over an upgrade that changes the webhooks", async () => {
    await writeRunTimeFields();
    const before = await runTime();
    await helm("upgrade", "weft", `${CHARTS}/weft`, "--set", "injector.timeoutSeconds=7,injector.failurePolicy=Ignore");
    const [webhook] = list((await get(`${WEBHOOKS}/mutatingwebhookconfigurations/weft-injector`))["webhooks"]).map(record);
    assert.deepEqual([webhook?.["timeoutSeconds"], webhook?.["failurePolicy"]], [7, "Ignore"]);
    assert.deepEqual(await runTime(), before);
    assert.ok(!JSON.stringify(before).includes("null") && JSON.stringify(before).includes("tls.crt"));
  });

  it("grant the injector what it uses, and nothing else", async () => {
    const manifests = parseAllDocuments(await helm("get", "manifest", "weft")).map((document) => record(document.toJS()));
    const roles = manifests.filter(({ kind, metadata }) => /Role$/.test(text(kind)) && record(metadata)["name"] === "weft-injector");
    const granted = roles.flatMap(({ rules }) =>
      list(rules)
        .map(record)
        .flatMap((rule) =>
          list(rule["resources"]).flatMap((resource) => list(rule["verbs"]).map((verb) => `${String(verb)} ${String(resource)}`)),
        ),
    );
    const requests = server.audit().map((line) => record(JSON.parse(line)));
    const used = requests
      .filter(({ user, objectRef }) => record(user)["username"] === ACCOUNT && objectRef !== undefined)
      .map(({ verb, objectRef }) => `${text(verb)} ${text(record(objectRef)["resource"])}`);
    assert.deepEqual([...new Set(used)].sort(), granted.sort());
  });

  it("refuse another namespace and values that do not exist", async () => {
    const elsewhere = run(helmFile, ["template", "weft", `${CHARTS}/weft`, "--namespace", "other", "--kube-version", "1.34.0"], {
      env: { HOME: folder },
    });
    await assert.rejects(elsewhere, /Weft lives in namespace weft-system, not other/);
    await assert.rejects(helm("upgrade", "weft", `${CHARTS}/weft`, "--set", "injector.colour=red"), /colour/);
  });

  it("render every option into objects that the API server takes", async () => {
    const options =
      "networkPolicy.enabled=true,priorityClassName=system-cluster-critical,image.registry=r.example,imagePullSecrets[0].name=x";
    await helm("upgrade", "weft", `${CHARTS}/weft`, "--set", options, "--set", "networkPolicy.apiServerCIDRs={10.0.0.0/8}");
    assert.deepEqual(await names("/apis/networking.k8s.io/v1/namespaces/weft-system/networkpolicies"), ["weft-injector", "weft-operator"]);
  });

  it("leave the kinds and the CA's Secret when they are uninstalled, and nothing else; and can be installed again", async () => {
    await helm("uninstall", "weft");
    await helm("uninstall", "weft-crds");
    const left = {
      secrets: await names(`${SYSTEM}/secrets`),
      configMaps: (await names(`${SYSTEM}/configmaps`)).filter((name) => name.startsWith("weft")),
      webhooks: [
        ...(await names(`${WEBHOOKS}/mutatingwebhookconfigurations`)),
        ...(await names(`${WEBHOOKS}/validatingwebhookconfigurations`)),
      ],
      roles: (await names("/apis/rbac.authorization.k8s.io/v1/clusterroles")).filter((name) => name.startsWith("weft")),
      kinds: (await names("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")).length,
    };
    assert.deepEqual(left, { secrets: ["weft-ca"], configMaps: [], webhooks: [], roles: [], kinds: 3 });
    await helm("install", "weft-crds", `${CHARTS}/weft-crds`);
    await helm("install", "weft", `${CHARTS}/weft`);
    assert.deepEqual(record((await get(`${SYSTEM}/secrets/weft-ca`))["data"]), { root: "eA==" });
  });
});
