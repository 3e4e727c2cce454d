import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { Code, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { IdentityService } from "#api/gen/weft/identity/v1/identity_pb.ts";
import type { KubeObject } from "#api/resources/kube.ts";
import { record, text } from "#kube/kube-error.ts";
import { startTestServer, type TestServer } from "#kube/test-server.ts";
import { until } from "#kube/test-world.ts";
import { requestFor } from "../test-operator.ts";

/**
 * Two replicas of `weft operator --kubernetes`, as processes, on a real API server, as a service account that may do what
 * the chart grants and no more.
 */

const ROOT = path.resolve(import.meta.dirname, "../..");
const SYSTEM = "weft-system";
const USER = `system:serviceaccount:${SYSTEM}:weft-operator`;
/** As the chart's roles say. */
const CLUSTER_RULES = [
  { apiGroups: [""], resources: ["services"], verbs: ["list", "watch"] },
  { apiGroups: [""], resources: ["pods"], verbs: ["get", "list", "watch"] },
  { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["list", "watch"] },
  { apiGroups: ["weft.dev"], resources: ["trafficpolicies", "meshidentities", "accesspolicies"], verbs: ["list", "watch"] },
  { apiGroups: ["weft.dev"], resources: ["trafficpolicies/status", "meshidentities/status", "accesspolicies/status"], verbs: ["patch"] },
  { apiGroups: ["gateway.networking.k8s.io"], resources: ["httproutes", "grpcroutes"], verbs: ["list", "watch"] },
  { apiGroups: ["authentication.k8s.io"], resources: ["tokenreviews"], verbs: ["create"] },
];
const ROLE_RULES = [
  { apiGroups: [""], resources: ["secrets"], resourceNames: ["weft-ca"], verbs: ["get", "update"] },
  { apiGroups: [""], resources: ["configmaps"], resourceNames: ["weft-trust-bundle"], verbs: ["get", "update"] },
  { apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["create"] },
  { apiGroups: ["coordination.k8s.io"], resources: ["leases"], resourceNames: ["weft-operator"], verbs: ["get", "update"] },
];

let test: TestServer;
let folder: string;
let kubeconfig: string;
const replicas: Replica[] = [];

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "weft-operators-"));
  test = await startTestServer([SYSTEM, "shop"]);
  kubeconfig = await grant();
});
afterAll(async () => {
  for (const replica of replicas) await replica.end("SIGKILL");
  await test?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const post = async (at: string, body: object): Promise<Readonly<Record<string, unknown>>> =>
  record((await test.client.request({ method: "POST", path: at, body })).body);
const get = async (at: string): Promise<KubeObject & { data?: Record<string, string> }> =>
  (await test.client.request({ method: "GET", path: at })).body as KubeObject;
const named = (name: string, more: object = {}) => ({ metadata: { name }, ...more });

/** Makes what the chart makes; a kubeconfig of the operator's service account. */
async function grant(): Promise<string> {
  const rbac = "/apis/rbac.authorization.k8s.io/v1";
  const core = `/api/v1/namespaces/${SYSTEM}`;
  const subjects = [{ kind: "ServiceAccount", name: "weft-operator", namespace: SYSTEM }];
  const roleRef = (kind: string) => ({ apiGroup: "rbac.authorization.k8s.io", kind, name: "weft-operator" });
  await post(`${core}/serviceaccounts`, named("weft-operator"));
  await post(`${core}/secrets`, named("weft-ca"));
  await post(`${core}/configmaps`, named("weft-trust-bundle"));
  await post(`${rbac}/clusterroles`, named("weft-operator", { rules: CLUSTER_RULES }));
  await post(`${rbac}/clusterrolebindings`, named("weft-operator", { roleRef: roleRef("ClusterRole"), subjects }));
  await post(`${rbac}/namespaces/${SYSTEM}/roles`, named("weft-operator", { rules: ROLE_RULES }));
  await post(`${rbac}/namespaces/${SYSTEM}/rolebindings`, named("weft-operator", { roleRef: roleRef("Role"), subjects }));
  const { status } = await post(`${core}/serviceaccounts/weft-operator/token`, { spec: { expirationSeconds: 3600 } });
  const admin = readFileSync(test.server.kubeconfig, "utf8");
  const certificates = path.join(path.dirname(test.server.kubeconfig), "certificates");
  const file = path.join(folder, "kubeconfig");
  writeFileSync(
    file,
    admin
      .replace(/token: "[^"]+"/, `token: "${text(record(status)["token"])}"`)
      .replace("certificate-authority: certificates", `certificate-authority: ${certificates}`)
      .replace("user: admin}", `user: admin, namespace: ${SYSTEM}}`),
  );
  return file;
}

class Replica {
  readonly address: string;
  log = "";
  readonly #process: ChildProcess;
  readonly #exited: Promise<number | null>;

  constructor(address: string) {
    this.address = address;
    const state = path.join(folder, address);
    const args = ["cli/main.ts", "operator", "--kubernetes", "--kubeconfig", kubeconfig, "--state", state, "--address", address];
    this.#process = spawn(process.execPath, args, { cwd: ROOT, stdio: ["ignore", "ignore", "pipe"] });
    this.#process.stderr?.on("data", (chunk: Buffer) => {
      this.log += chunk.toString();
    });
    this.#exited = new Promise((resolve) => this.#process.once("close", resolve));
    replicas.push(this);
  }

  async ready(): Promise<boolean> {
    try {
      return (await fetch(`http://${this.address}:16812/readyz`)).ok;
    } catch {
      return false;
    }
  }

  /** A metric's value; null: it is not served (yet). */
  async metric(name: string): Promise<number | null> {
    try {
      const said = await (await fetch(`http://${this.address}:16812/metrics`)).text();
      const value = new RegExp(`^${name} (\\S+)$`, "m").exec(said)?.[1];
      return value === undefined ? null : Number(value);
    } catch {
      return null;
    }
  }

  async end(signal: NodeJS.Signals): Promise<number | null> {
    if (this.#process.exitCode === null) this.#process.kill(signal);
    return this.#exited;
  }
}

/** As a pod that comes up; the operator's certificate is not the matter here. */
const identity = (address: string) => {
  const nodeOptions = { rejectUnauthorized: false, checkServerIdentity: () => undefined };
  return createClient(IdentityService, createGrpcTransport({ baseUrl: `https://${address}:16810`, nodeOptions }));
};

const SHOP = "/apis/weft.dev/v1alpha1/namespaces/shop/trafficpolicies";
const policy = (name: string, target: string) =>
  named(name, {
    apiVersion: "weft.dev/v1alpha1",
    kind: "TrafficPolicy",
    spec: { targetRefs: [{ group: "", kind: "Service", name: target }] },
  });

interface Ancestors {
  readonly ancestors?: readonly {
    readonly conditions: readonly { readonly type: string; readonly status: string; readonly observedGeneration: number }[];
  }[];
}
const conditions = async (name: string): Promise<string> =>
  ((await get(`${SHOP}/${name}`)).status as Ancestors | undefined)?.ancestors?.[0]?.conditions
    .map(({ type, status }) => `${type}=${status}`)
    .join(" ") ?? "";

describe("two replicas of the operator on a real API server", () => {
  it("become ready with one root, which the ConfigMap tells, and one leader", async () => {
    const [a, b] = [new Replica("127.0.81.1"), new Replica("127.0.81.2")];
    await until("both are ready", async () => (await a.ready()) && (await b.ready()), 30_000);
    const bundles = [a, b].map(({ address }) => readFileSync(path.join(folder, address, "operator/bundle.pem"), "utf8"));
    assert.equal(bundles[0], bundles[1]);
    await until("the ConfigMap says it", async () => {
      const { data } = await get(`/api/v1/namespaces/${SYSTEM}/configmaps/weft-trust-bundle`);
      return data?.["bundle.pem"] === bundles[0];
    });
    assert.equal(((await a.metric("weft_kube_leader")) ?? 0) + ((await b.metric("weft_kube_leader")) ?? 0), 1);
  });

  it("write what is said of a policy, once", async () => {
    await post("/api/v1/namespaces/shop/services", named("cart", { spec: { ports: [{ name: "http", port: 80 }] } }));
    await post(SHOP, policy("cart", "cart"));
    await until(
      "the policy has its conditions",
      async () => (await conditions("cart")) === "Accepted=True ResolvedRefs=True Programmed=True",
      15_000,
    );
    await post(SHOP, policy("lost", "nobody"));
    await until("the other too", async () => (await conditions("lost")).startsWith("Accepted=False"), 15_000);
    const writes = test.server
      .audit()
      .filter((line) => line.includes(`"${USER}"`) && line.includes('"verb":"patch"') && line.includes('"name":"cart"'));
    assert.ok(writes.length <= 2, `${writes.length} writes`);
  });

  it("issue an identity to a pod that shows its own token, whichever replica it asks, under the root that new pods are told", async () => {
    const core = "/api/v1/namespaces/shop";
    await post(`${core}/serviceaccounts`, named("cart"));
    const spec = { serviceAccountName: "cart", automountServiceAccountToken: false, containers: [{ name: "app", image: "app" }] };
    const uid = text(record((await post(`${core}/pods`, named("cart-1", { spec })))["metadata"])["uid"]);
    const bound = { audiences: ["weft"], expirationSeconds: 600, boundObjectRef: { kind: "Pod", apiVersion: "v1", name: "cart-1", uid } };
    const token = text(record((await post(`${core}/serviceaccounts/cart/token`, { spec: bound }))["status"])["token"]);
    const { data } = await get(`/api/v1/namespaces/${SYSTEM}/configmaps/weft-trust-bundle`);
    const root = new X509Certificate(data?.["bundle.pem"] ?? "");
    for (const { address } of replicas) {
      const { chain } = await identity(address).issue(requestFor(token));
      const [leaf, issuer] = chain.map((der) => new X509Certificate(der));
      assert.equal(leaf?.subjectAltName, "URI:spiffe://cluster.local/ns/shop/sa/cart");
      assert.ok(leaf?.verify(issuer!.publicKey) && issuer?.verify(root.publicKey));
    }
    await test.client.request({ method: "DELETE", path: `${core}/pods/cart-1`, query: { gracePeriodSeconds: "0" } });
    for (const { address } of replicas) {
      await assert.rejects(identity(address).issue(requestFor(token)), { code: Code.Unauthenticated });
    }
  });

  it("go on with the other when the leader is told to stop: at once, with the policies that came meanwhile", async () => {
    const leader = (await replicas[0]!.metric("weft_kube_leader")) === 1 ? replicas[0]! : replicas[1]!;
    const other = replicas.find((one) => one !== leader)!;
    const stopping = leader.end("SIGTERM");
    await post(SHOP, policy("late", "cart"));
    await until("the other leads", async () => (await other.metric("weft_kube_leader")) === 1, 10_000);
    // Two policies for one Service: the older wins, and the younger is told so.
    await until("its status is written", async () => (await conditions("late")).includes("Accepted=False"), 15_000);
    assert.equal(await stopping, 0, leader.log);
  });

  it("do nothing that they are not granted, and are granted nothing that they do not do", async () => {
    const used = new Set<string>();
    const refused: string[] = [];
    for (const line of test.server.audit()) {
      const { user, verb, objectRef, responseStatus } = JSON.parse(line) as Record<string, unknown>;
      if (record(user)["username"] !== USER) continue;
      const { apiGroup, resource, subresource } = record(objectRef);
      const what = `${verb} ${text(apiGroup)}/${text(resource)}${subresource === undefined ? "" : `/${text(subresource)}`}`;
      used.add(what);
      if (record(responseStatus)["code"] === 403) refused.push(what);
    }
    assert.deepEqual(refused, []);
    const granted = new Set(
      [...CLUSTER_RULES, ...ROLE_RULES].flatMap(({ apiGroups, resources, verbs }) =>
        verbs.flatMap((verb) => resources.map((resource) => `${verb} ${apiGroups[0]}/${resource}`)),
      ),
    );
    // No MeshIdentity or AccessPolicy has a status here, and Gateway API is not installed, so it cannot be watched.
    const elsewhere = /(meshidentities|accesspolicies)\/status|watch gateway/;
    assert.deepEqual(
      [...used].filter((one) => !granted.has(one)),
      [],
    );
    assert.deepEqual(
      [...granted].filter((one) => !used.has(one) && !elsewhere.test(one)),
      [],
    );
  });
});
