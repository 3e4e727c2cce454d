import assert from "node:assert/strict";
import type { KubeClient } from "./client.ts";
import { FakeApi, status } from "./test-fake-api.ts";
import { accessTo, clientOf } from "./test-world.ts";
import { TokenReviewer } from "./token-review.ts";

const POD = "authentication.kubernetes.io/pod-name";
const UID = "authentication.kubernetes.io/pod-uid";

let fake: FakeApi;
let client: KubeClient;
beforeEach(async () => {
  fake = await FakeApi.start();
  client = clientOf(accessTo(fake.url));
  const spec = { serviceAccountName: "cart" };
  fake.put("/api/v1/pods", { kind: "Pod", apiVersion: "v1", metadata: { name: "cart-1", namespace: "shop", uid: "u-1" }, spec });
});
afterEach(async () => {
  client.close();
  await fake.close();
});

const good = (more: object = {}, user: object = {}) => ({
  authenticated: true,
  audiences: ["weft"],
  user: { username: "system:serviceaccount:shop:cart", extra: { [POD]: ["cart-1"], [UID]: ["u-1"] }, ...user },
  ...more,
});

describe("a token", () => {
  it("proves the pod that it is bound to, while that pod is there", async () => {
    fake.reviews.set("t", good());
    assert.deepEqual(await new TokenReviewer(client).attest("t"), {
      namespace: "shop",
      serviceAccount: "cart",
      pod: "cart-1",
      podUid: "u-1",
    });
  });

  const nothing: readonly { name: string; review: Record<string, unknown> }[] = [
    { name: "is not authenticated", review: good({ authenticated: false }) },
    { name: "is for another audience", review: good({ audiences: ["https://kubernetes.default.svc"] }) },
    { name: "has no audience, as from a server that knows none", review: good({ audiences: undefined }) },
    { name: "comes with an error", review: good({ error: "expired" }) },
    { name: "is a user's", review: good({}, { username: "admin" }) },
    { name: "is a user's who looks like a service account", review: good({}, { username: "x:system:serviceaccount:shop:cart" }) },
    { name: "has a part too many in its name", review: good({}, { username: "system:serviceaccount:shop:cart:x" }) },
    { name: "is bound to no pod", review: good({}, { extra: {} }) },
    { name: "is bound to two pods", review: good({}, { extra: { [POD]: ["cart-1", "b"], [UID]: ["u-1"] } }) },
    { name: "is bound to a pod of the same name that is gone", review: good({}, { extra: { [POD]: ["cart-1"], [UID]: ["u-0"] } }) },
    { name: "is bound to a pod that is gone", review: good({}, { extra: { [POD]: ["cart-0"], [UID]: ["u-1"] } }) },
    { name: "is of another service account than its pod", review: good({}, { username: "system:serviceaccount:shop:admin" }) },
    { name: "is of another namespace than its pod", review: good({}, { username: "system:serviceaccount:bank:cart" }) },
  ];
  it.each(nothing)("proves nothing that $name", async ({ review }) => {
    fake.reviews.set("t", review);
    assert.equal(await new TokenReviewer(client).attest("t"), null);
  });

  it("is not even shown to the server when it cannot be one", async () => {
    assert.equal(await new TokenReviewer(client).attest(""), null);
    assert.equal(await new TokenReviewer(client).attest("x".repeat(20_000)), null);
    assert.equal(fake.asked.length, 0);
  });

  const silent: readonly { name: string; match: RegExp }[] = [
    { name: "the token", match: /tokenreviews/ },
    { name: "the pod", match: /pods/ },
  ];
  it.each(silent)("is not judged, rather than refused, while the server does not answer about $name", async ({ match }) => {
    fake.reviews.set("t", good());
    fake.faults.push({ match, act: (_request, response) => status(response, 500, "InternalError", "later") });
    await assert.rejects(new TokenReviewer(client).attest("t"), { status: 500 });
  });
});
