import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { parse } from "yaml";
import { KubeClient } from "#kube/client.ts";
import { Credentials } from "#kube/credentials.ts";
import type { KubeError } from "#kube/kube-error.ts";
import { kubeconfigAccess } from "#kube/kubeconfig.ts";
import { SystemClock } from "#runtime/clock.ts";
import { createLogger } from "#runtime/logger.ts";
import { MetricsRegistry } from "#runtime/metrics-server.ts";
import { type ApiServer, startApiServer } from "#testing/apiserver/server.ts";
import { ClusterCertificates } from "./cluster-certificates.ts";
import { patchFor } from "./patch.ts";
import { list, record, text, type Json } from "./pod.ts";
import { INJECTOR_METRICS, WebhookServer } from "./server.ts";
import { SETTINGS } from "./test-settings.ts";

/**
 * The webhooks as a real API server calls them: its selectors, its defaulting, its reinvocation, its server-side apply.
 * The configurations are the chart's but for the address, which here is one of loopback.
 */

const clock = new SystemClock();
const ADMISSION = "/apis/admissionregistration.k8s.io/v1";
const EXCLUDED = { key: "kubernetes.io/metadata.name", operator: "NotIn", values: ["kube-system", "weft-system"] };
const CREATED = { apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE"], resources: ["pods"] };
const DEBUGGED = { apiGroups: [""], apiVersions: ["v1"], operations: ["UPDATE"], resources: ["pods/ephemeralcontainers"] };

let server: ApiServer;
let client: KubeClient;
let webhooks: WebhookServer;
let agent: https.Server;

const send = async (method: "GET" | "POST" | "PUT" | "PATCH", path: string, body?: unknown, contentType?: string): Promise<Json> =>
  record(
    (await client.request({ method, path, ...(body === undefined ? {} : { body }), ...(contentType === undefined ? {} : { contentType }) }))
      .body,
  );
const refused = (sent: Promise<unknown>): Promise<KubeError> =>
  sent.then(
    () => assert.fail("the API server took it"),
    (error) => error as KubeError,
  );
const createPod = (namespace: string, pod: Json): Promise<Json> => send("POST", `/api/v1/namespaces/${namespace}/pods`, pod);

function pod(name: string, container: Json = {}, metadata: Json = {}): Json {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, ...metadata },
    spec: { containers: [{ name: "app", image: "app:1", ...container }] },
  };
}

const initNames = (one: Json): string[] => list(record(one["spec"])["initContainers"]).map((item) => text(record(item)["name"]));

function configurations(port: number): Json[] {
  const webhook = (name: string, path: string, rules: readonly Json[], labels: Json, objectSelector: Json): Json => ({
    name,
    clientConfig: { url: `https://localhost:${port}${path}` },
    admissionReviewVersions: ["v1"],
    sideEffects: "None",
    failurePolicy: "Fail",
    timeoutSeconds: 5,
    rules,
    namespaceSelector: { matchExpressions: [labels, EXCLUDED] },
    objectSelector: { matchExpressions: [objectSelector] },
  });
  const asks = { key: "weft.dev/inject", operator: "In", values: ["enabled"] };
  const asksNot = { ...asks, operator: "NotIn" };
  const declinesNot = { key: "weft.dev/inject", operator: "NotIn", values: ["disabled"] };
  const says = { key: "weft.dev/inject", operator: "Exists" };
  const both = (verb: string, rules: readonly Json[]): Json[] => [
    webhook(`namespace.${verb}.weft.dev`, `/${verb}`, rules, asks, declinesNot),
    webhook(`pod.${verb}.weft.dev`, `/${verb}/pod-label`, rules, asksNot, says),
  ];
  const own = { apiGroups: ["weft.dev"], apiVersions: ["*"], operations: ["CREATE", "UPDATE"], resources: ["*"] };
  const resources = webhook("resources.validate.weft.dev", "/validate", [own], EXCLUDED, { key: "x", operator: "DoesNotExist" });
  return [
    {
      kind: "MutatingWebhookConfiguration",
      webhooks: both("mutate", [CREATED]).map((one) => ({ ...one, reinvocationPolicy: "IfNeeded" })),
    },
    {
      kind: "ValidatingWebhookConfiguration",
      webhooks: [...both("validate", [CREATED, DEBUGGED]), { ...resources, namespaceSelector: {} }],
    },
  ].map((one) => ({ apiVersion: "admissionregistration.k8s.io/v1", metadata: { name: "weft-injector" }, ...one }));
}

const pluralOf = ({ kind }: Json): string => `${text(kind).toLowerCase()}s`;

async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise<void>((resolve) => clock.after(50, resolve));
}

/** Another's webhook, called after ours (by the name of its configuration): adds a container with a probe to pods that ask for it. */
async function startAgentWebhook(secret: Json): Promise<void> {
  const pem = (name: string): string => Buffer.from(text(record(secret["data"])[name]), "base64").toString("utf8");
  const added = { name: "agent", image: "agent:1", livenessProbe: { httpGet: { path: "/agent", port: 9100 } } };
  const patch = Buffer.from(JSON.stringify([{ op: "add", path: "/spec/containers/-", value: added }])).toString("base64");
  agent = https.createServer({ cert: pem("tls.crt"), key: pem("tls.key") }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { uid } = (JSON.parse(Buffer.concat(chunks).toString("utf8")) as { request: { uid: string } }).request;
      const answer = {
        apiVersion: "admission.k8s.io/v1",
        kind: "AdmissionReview",
        response: { uid, allowed: true, patchType: "JSONPatch", patch },
      };
      response.setHeader("content-type", "application/json").end(JSON.stringify(answer));
    });
  });
  await new Promise<void>((resolve) => agent.listen(0, "127.0.0.1", () => resolve()));
  await send("POST", `${ADMISSION}/mutatingwebhookconfigurations`, {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "MutatingWebhookConfiguration",
    metadata: { name: "z-agent" },
    webhooks: [
      {
        name: "agent.example.com",
        clientConfig: { url: `https://localhost:${(agent.address() as AddressInfo).port}/`, caBundle: record(secret["data"])["ca.crt"] },
        admissionReviewVersions: ["v1"],
        sideEffects: "None",
        rules: [CREATED],
        objectSelector: { matchLabels: { agent: "wanted" } },
      },
    ],
  });
}

const TLS_SECRET = "/api/v1/namespaces/weft-system/secrets/weft-injector-tls";
beforeAll(async () => {
  server = await startApiServer();
  const access = kubeconfigAccess([{ path: server.kubeconfig, text: readFileSync(server.kubeconfig, "utf8") }]);
  client = new KubeClient(access, new Credentials(access, clock, {}), clock);
  const folder = new URL("../crds/", import.meta.url);
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".yaml")))
    await send("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", parse(readFileSync(new URL(file, folder), "utf8")));
  const labels = { "weft.dev/inject": "enabled" };
  for (const metadata of [{ name: "shop", labels }, { name: "plain" }, { name: "weft-system", labels }]) {
    await send("POST", "/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata });
  }
  await send("PATCH", "/api/v1/namespaces/kube-system", { metadata: { labels } }, "application/merge-patch+json");
  for (const namespace of ["shop", "plain", "weft-system", "kube-system"])
    await send("POST", `/api/v1/namespaces/${namespace}/serviceaccounts`, {
      apiVersion: "v1",
      kind: "ServiceAccount",
      metadata: { name: "default" },
    });
  await send("POST", TLS_SECRET.replace("/weft-injector-tls", ""), {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "weft-injector-tls" },
  });
  const logger = createLogger(() => {}, clock, "error");
  const given = {
    client,
    clock,
    randomBytes,
    logger,
    namespace: "weft-system",
    secret: "weft-injector-tls",
    webhooks: "weft-injector",
    dnsNames: ["localhost"],
  };
  webhooks = new WebhookServer({
    address: "127.0.0.1",
    port: 0,
    certificates: new ClusterCertificates(given),
    settings: () => SETTINGS,
    systemNamespace: "weft-system",
    metrics: new MetricsRegistry(INJECTOR_METRICS),
    clock,
    logger,
  });
  await webhooks.start();
  for (const one of configurations(webhooks.port)) await send("POST", `${ADMISSION}/${pluralOf(one)}`, one);
  await startAgentWebhook(await send("GET", TLS_SECRET));
  // The API server takes up configurations with a delay of its own, and refuses until the caBundle is there.
  const dryRun = {
    method: "POST",
    path: "/api/v1/namespaces/shop/pods",
    query: { dryRun: "All" },
    body: pod("probe", {}, { labels: { agent: "wanted" } }),
  } as const;
  await until(() =>
    client.request(dryRun).then(
      ({ body }) => initNames(record(body)).length === 2 && list(record(record(body)["spec"])["containers"]).length === 2,
      () => false,
    ),
  );
});
afterAll(async () => {
  await webhooks?.close();
  agent?.close();
  client?.close();
  await server?.stop();
});

describe("the webhooks, called by a real API server", () => {
  it("make pods whose stored form, with all that the API server filled in, needs no change any more", async () => {
    const stored = await createPod("shop", pod("plain-pod", { readinessProbe: { httpGet: { path: "/healthz", port: 8080 } } }));
    assert.deepEqual([initNames(stored), patchFor(stored, SETTINGS)], [["weft-init", "weft-proxy"], []]);
  });

  it("rewrite the probes of a container that another webhook adds after us", async () => {
    const stored = await createPod(
      "shop",
      pod("with-agent", { livenessProbe: { tcpSocket: { port: 8080 } } }, { labels: { agent: "wanted" } }),
    );
    const [app, added] = list(record(stored["spec"])["containers"]).map(record);
    const path = (container: Json | undefined): unknown => record(record(container?.["livenessProbe"])["httpGet"])["path"];
    assert.deepEqual([path(app), path(added), patchFor(stored, SETTINGS)], ["/probe/app/liveness", "/probe/agent/liveness", []]);
  });

  it("leave the service account's own token out of the sidecar", async () => {
    const stored = await createPod("shop", pod("tokens", {}, { labels: { agent: "wanted" } }));
    const mounts = list(record(list(record(stored["spec"])["initContainers"])[1])["volumeMounts"]).map((mount) => record(mount)["name"]);
    assert.deepEqual(mounts, ["weft-state", "weft-token"]);
  });

  it("are called for a pod that asks in a namespace that does not, and for no other there", async () => {
    const asking = await createPod("plain", pod("asking", {}, { labels: { "weft.dev/inject": "enabled" } }));
    const silent = await createPod("plain", pod("silent", { securityContext: { privileged: true } }));
    assert.deepEqual([initNames(asking), initNames(silent)], [["weft-init", "weft-proxy"], []]);
  });

  it("leave kube-system and Weft's own namespace alone, labelled as they are", async () => {
    const made = await Promise.all(
      ["kube-system", "weft-system"].map((namespace) => createPod(namespace, pod("own", {}, { labels: { "weft.dev/inject": "enabled" } }))),
    );
    assert.deepEqual(made.map(initNames), [[], []]);
  });

  it("leave a pod alone that declines", async () => {
    assert.deepEqual(initNames(await createPod("shop", pod("out", {}, { labels: { "weft.dev/inject": "disabled" } }))), []);
  });

  it("refuse a bypass with its field and remedy", async () => {
    const { status, message, causes } = await refused(createPod("shop", pod("bypass", { securityContext: { runAsUser: 16800 } })));
    assert.deepEqual([status, causes.map(({ field }) => field)], [403, ["spec.containers[0].securityContext.runAsUser"]]);
    assert.match(message, /WEFT_PROXY_UID.*Take another user id/);
  });

  it("refuse a label that is neither of the two, in any namespace", async () => {
    assert.match(
      (await refused(createPod("plain", pod("typo", {}, { labels: { "weft.dev/inject": "true" } })))).message,
      /WEFT_BAD_POD_SETTING/,
    );
  });

  it("refuse a debug container that could take the rules away, and take another", async () => {
    await createPod("shop", pod("debugged"));
    const debug = (name: string, add: readonly string[]): Promise<Json> =>
      send(
        "PATCH",
        "/api/v1/namespaces/shop/pods/debugged/ephemeralcontainers",
        { spec: { ephemeralContainers: [{ name, image: "x:1", securityContext: { capabilities: { add } } }] } },
        "application/strategic-merge-patch+json",
      );
    assert.match((await refused(debug("bad", ["NET_ADMIN"]))).message, /WEFT_NETWORK_CAPABILITY/);
    assert.equal(list(record((await debug("good", []))["spec"])["ephemeralContainers"]).length, 1);
  });

  it("refuse a resource that plan would not act on, which the schema alone lets through", async () => {
    const policy = {
      apiVersion: "weft.dev/v1alpha1",
      kind: "AccessPolicy",
      metadata: { name: "p" },
      spec: { targetRefs: [{ group: "", kind: "Service", name: "cart" }], action: "Allow" },
    };
    const { status, message } = await refused(send("POST", "/apis/weft.dev/v1alpha1/namespaces/shop/accesspolicies", policy));
    assert.equal(status, 422);
    assert.match(message, /WEFT_UNSUPPORTED_FIELD/);
  });

  it("keep their caBundle when the chart is applied anew without it", async () => {
    const [mutating = {}] = configurations(webhooks.port);
    const path = `${ADMISSION}/mutatingwebhookconfigurations/weft-injector`;
    const before = list((await send("GET", path))["webhooks"]).map((one) => record(record(one)["clientConfig"])["caBundle"]);
    await client.request({
      method: "PATCH",
      path,
      query: { fieldManager: "helm", force: "true" },
      body: mutating,
      contentType: "application/apply-patch+yaml",
    });
    const after = list((await send("GET", path))["webhooks"]).map((one) => record(record(one)["clientConfig"])["caBundle"]);
    assert.deepEqual([after, new Set(before).size, typeof before[0]], [before, 1, "string"]);
  });
});
