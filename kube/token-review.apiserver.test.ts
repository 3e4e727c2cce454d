import assert from "node:assert/strict";
import { collectionPath, objectPath, PODS } from "./resource.ts";
import { startTestServer, type TestServer } from "./test-server.ts";
import { TokenReviewer } from "./token-review.ts";

const NAMESPACE = "identity";
const ACCOUNTS = `/api/v1/namespaces/${NAMESPACE}/serviceaccounts`;

let test: TestServer;
beforeAll(async () => {
  test = await startTestServer([NAMESPACE]);
  for (const name of ["cart", "other"]) await post(ACCOUNTS, { metadata: { name } });
});
afterAll(async () => {
  await test?.stop();
});

async function post(path: string, body: unknown): Promise<unknown> {
  return (await test.client.request({ method: "POST", path, body })).body;
}

/** A pod that nobody schedules; its uid. */
async function pod(name: string): Promise<string> {
  const spec = { serviceAccountName: "cart", automountServiceAccountToken: false, containers: [{ name: "app", image: "app" }] };
  const made = await post(collectionPath(PODS, NAMESPACE), { metadata: { name }, spec });
  return (made as { metadata: { uid: string } }).metadata.uid;
}

async function token(audience: string, bound: { name: string; uid: string } | null, account = "cart"): Promise<string> {
  const boundObjectRef = bound === null ? undefined : { kind: "Pod", apiVersion: "v1", ...bound };
  const made = await post(`${ACCOUNTS}/${account}/token`, { spec: { audiences: [audience], expirationSeconds: 600, boundObjectRef } });
  return (made as { status: { token: string } }).status.token;
}

const attest = (value: string) => new TokenReviewer(test.client).attest(value);

describe("a real token", () => {
  it("proves the pod that it is bound to", async () => {
    const uid = await pod("cart-1");
    assert.deepEqual(await attest(await token("weft", { name: "cart-1", uid })), {
      namespace: NAMESPACE,
      serviceAccount: "cart",
      pod: "cart-1",
      podUid: uid,
    });
  });

  it("proves nothing when it is for another audience", async () => {
    const uid = await pod("cart-2");
    assert.equal(await attest(await token("https://kubernetes.default.svc.cluster.local", { name: "cart-2", uid })), null);
  });

  it("proves nothing when it is bound to no pod", async () => {
    assert.equal(await attest(await token("weft", null)), null);
  });

  it("proves nothing when its pod is gone, nor when another pod has the name now", async () => {
    const uid = await pod("cart-3");
    const value = await token("weft", { name: "cart-3", uid });
    assert.notEqual(await attest(value), null);
    const path = objectPath(PODS, NAMESPACE, "cart-3");
    await test.client.request({ method: "DELETE", path, query: { gracePeriodSeconds: "0" } });
    assert.equal(await attest(value), null);
    await pod("cart-3");
    assert.equal(await attest(value), null);
  });

  it("proves nothing with one character changed, or when it is none", async () => {
    const uid = await pod("cart-4");
    const value = await token("weft", { name: "cart-4", uid });
    const middle = Math.floor(value.length / 2);
    const changed = `${value.slice(0, middle)}${value[middle] === "A" ? "B" : "A"}${value.slice(middle + 1)}`;
    assert.deepEqual([await attest(changed), await attest("x"), await attest("a.b.c")], [null, null, null]);
  });

  it("cannot be made for a pod of another service account", async () => {
    const uid = await pod("cart-5");
    await assert.rejects(token("weft", { name: "cart-5", uid }, "other"));
  });
});
