import assert from "node:assert/strict";
import { validate } from "./validate.ts";
import { mutate } from "./mutate.ts";
import { mesh, patchFor } from "./patch.ts";
import { list, record, type Json } from "./pod.ts";
import { answerOf, readReview, type ReviewRequest, type Verdict } from "./review.ts";
import { SETTINGS } from "./test-settings.ts";

const ENABLED = { "weft.dev/inject": "enabled" };
const POD: Json = { apiVersion: "v1", kind: "Pod", metadata: { name: "cart" }, spec: { containers: [{ name: "app", image: "app:1" }] } };
const bad = (pod: Json): Json => ({
  ...pod,
  spec: { ...record(pod["spec"]), containers: [{ name: "app", securityContext: { runAsUser: 16800 } }] },
});
const bytes = (value: unknown): Uint8Array => new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));

function request(more: Partial<ReviewRequest> = {}): ReviewRequest {
  return {
    uid: "u-1",
    operation: "CREATE",
    kind: { group: "", version: "v1", kind: "Pod" },
    subResource: "",
    namespace: "shop",
    name: "",
    object: POD,
    oldObject: {},
    ...more,
  };
}

const mutated = (more: Partial<ReviewRequest> = {}, labels: Readonly<Record<string, string>> = ENABLED): Verdict =>
  mutate(request(more), labels, "weft-system", SETTINGS);
const validated = (more: Partial<ReviewRequest> = {}): Verdict => validate(request(more), ENABLED, "weft-system");

const policy = (spec: Json): Json => ({
  apiVersion: "weft.dev/v1alpha1",
  kind: "TrafficPolicy",
  metadata: { name: "p", namespace: "shop" },
  spec,
});
const GOOD_SPEC = { targetRefs: [{ group: "", kind: "Service", name: "cart" }] };
const BAD_SPEC = { ...GOOD_SPEC, routes: [{ timeouts: { request: "5 parsecs" } }] };
const KIND = { group: "weft.dev", version: "v1alpha1", kind: "TrafficPolicy" };

describe("a review", () => {
  const whole = { apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", request: { uid: "u-1", object: POD } };
  const cases: readonly { readonly name: string; readonly body: unknown; readonly problem: RegExp }[] = [
    { name: "another version", body: { ...whole, apiVersion: "admission.k8s.io/v1beta1" }, problem: /not an AdmissionReview/ },
    { name: "another kind", body: { ...whole, kind: "TokenReview" }, problem: /not an AdmissionReview/ },
    { name: "no request", body: { ...whole, request: null }, problem: /uid/ },
    { name: "no uid", body: { ...whole, request: {} }, problem: /uid/ },
    { name: "a uid that is too long to repeat", body: { ...whole, request: { uid: "u".repeat(129) } }, problem: /uid/ },
    { name: "a list", body: [whole], problem: /not an AdmissionReview/ },
    { name: "garbage", body: "\0\x01{", problem: /not JSON/ },
    { name: "nothing", body: "", problem: /not JSON/ },
    { name: "100,000 levels", body: `${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}`, problem: /nested/ },
  ];
  it.each(cases)("is not read when it has $name", ({ body, problem }) => {
    const read = readReview(bytes(body));
    assert.match("problem" in read ? read.problem : "read", problem);
  });

  it("is not read when it is no UTF-8, because a lossy reading would judge another object than is stored", () => {
    assert.deepEqual(readReview(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d)), { problem: "not JSON in UTF-8" });
  });

  it("is answered with its uid and a patch in base64", () => {
    const answer = record(record(answerOf("u-1", mutated()))["response"]);
    const patch = JSON.parse(Buffer.from(String(answer["patch"]), "base64").toString("utf8")) as unknown[];
    assert.deepEqual([answer["uid"], answer["allowed"], answer["patchType"], patch.length], ["u-1", true, "JSONPatch", 3]);
  });

  it("is answered without a patch where there is nothing to change", () => {
    const injected = JSON.parse(JSON.stringify(mesh(POD, SETTINGS))) as Json;
    const answer = record(record(answerOf("u-1", mutated({ object: injected })))["response"]);
    assert.deepEqual([answer["allowed"], "patch" in answer, "patchType" in answer], [true, false, false]);
  });

  it("is refused with field, code and remedy", () => {
    const answer = record(record(answerOf("u-1", mutated({ object: bad(POD) })))["response"]);
    const status = record(answer["status"]);
    assert.deepEqual([answer["allowed"], status["code"], status["reason"]], [false, 403, "Forbidden"]);
    assert.match(String(status["message"]), /^WEFT_PROXY_UID: spec\.containers\[0\]\.securityContext\.runAsUser: .*Take another user id/);
    assert.deepEqual(
      list(record(status["details"])["causes"]).map((cause) => record(cause)["field"]),
      ["spec.containers[0].securityContext.runAsUser"],
    );
  });
});

describe("the mutating webhook", () => {
  const untouched: readonly { readonly name: string; readonly more: Partial<ReviewRequest> }[] = [
    { name: "updates", more: { operation: "UPDATE" } },
    { name: "subresources", more: { subResource: "ephemeralcontainers" } },
    { name: "other kinds", more: { kind: { group: "apps", version: "v1", kind: "Deployment" } } },
    { name: "a Pod of another group", more: { kind: { group: "example.com", version: "v1", kind: "Pod" } } },
  ];
  it.each(untouched)("changes nothing of $name", ({ more }) => {
    assert.deepEqual(mutated(more), { allowed: true, outcome: "unchanged" });
  });

  it("says in the audit log why a pod is left alone", () => {
    const verdict = mutated({}, {});
    assert.deepEqual([verdict.allowed, verdict.outcome, verdict.patch], [true, "skipped", undefined]);
    assert.match(
      String(record(record(record(answerOf("u", verdict))["response"])["auditAnnotations"])["reason"]),
      /neither the pod nor its namespace/,
    );
  });

  it("refuses while it has no trust bundle, because a sidecar without one could trust nobody", () => {
    const verdict = mutate(request(), ENABLED, "weft-system", null);
    assert.deepEqual([verdict.allowed, verdict.status, verdict.code], [false, 503, "WEFT_INJECTOR_NOT_READY"]);
  });

  it("leaves pods alone that are not its business even without a trust bundle", () => {
    assert.equal(mutate(request({ namespace: "kube-system" }), ENABLED, "weft-system", null).allowed, true);
  });
});

describe("the validating webhook", () => {
  it("refuses a resource that plan would not accept, with field and remedy", () => {
    const verdict = validated({ kind: KIND, object: policy(BAD_SPEC) });
    assert.deepEqual([verdict.allowed, verdict.status, verdict.code], [false, 422, "WEFT_INVALID_FIELD"]);
    assert.match(verdict.message ?? "", /spec\.routes\[0\]\.timeouts\.request: /);
  });

  it("lets through one that plan accepts", () => {
    assert.deepEqual(validated({ kind: KIND, object: policy(GOOD_SPEC) }), { allowed: true, outcome: "allowed" });
  });

  it("lets an old broken one change its metadata, so that finalizers can go, and warns", () => {
    const verdict = validated({ kind: KIND, operation: "UPDATE", object: policy(BAD_SPEC), oldObject: policy(BAD_SPEC) });
    assert.deepEqual([verdict.allowed, verdict.warnings?.length], [true, 1]);
  });

  it("refuses an update that leaves a spec as broken as it was but another", () => {
    const old = policy({ ...BAD_SPEC, routes: [{ timeouts: { request: "6 parsecs" } }] });
    assert.equal(validated({ kind: KIND, operation: "UPDATE", object: policy(BAD_SPEC), oldObject: old }).allowed, false);
  });

  it("lets deletions through, whatever is deleted", () => {
    assert.equal(validated({ kind: KIND, operation: "DELETE", object: {}, oldObject: policy(BAD_SPEC) }).allowed, true);
  });

  it("says nothing of other people's kinds", () => {
    assert.equal(
      validated({ kind: { group: "example.com", version: "v1", kind: "TrafficPolicy" }, object: policy(BAD_SPEC) }).allowed,
      true,
    );
  });

  it("refuses what another webhook added to a pod after us", () => {
    assert.equal(validated({ object: bad(mesh(POD, SETTINGS)) }).code, "WEFT_PROXY_UID");
  });

  it("warns of a pod that should have a sidecar and has none", () => {
    const verdict = validated();
    assert.deepEqual(
      [verdict.allowed, verdict.code, verdict.warnings?.[0]?.split(":")[0]],
      [true, "WEFT_NOT_INJECTED", "WEFT_NOT_INJECTED"],
    );
  });

  const debug = (securityContext: Json): Json => {
    const injected = mesh(POD, SETTINGS);
    return { ...injected, spec: { ...record(injected["spec"]), ephemeralContainers: [{ name: "debug", securityContext }] } };
  };
  const debugging = { operation: "UPDATE", subResource: "ephemeralcontainers" };
  it("refuses a debug container that could take the rules away, in a meshed pod", () => {
    assert.equal(validated({ ...debugging, object: debug({ capabilities: { add: ["NET_ADMIN"] } }) }).code, "WEFT_NETWORK_CAPABILITY");
  });

  it("allows a debug container without, and any in a pod that is not meshed", () => {
    const free = {
      ...POD,
      spec: { ...record(POD["spec"]), ephemeralContainers: [{ name: "debug", securityContext: { privileged: true } }] },
    };
    assert.deepEqual(
      [validated({ ...debugging, object: debug({}) }).allowed, validated({ ...debugging, object: free }).allowed],
      [true, true],
    );
  });

  it("agrees with the mutating one: what that makes, this lets through", () => {
    const made = mesh(POD, SETTINGS);
    assert.deepEqual([patchFor(made, SETTINGS).length, validated({ object: made })], [0, { allowed: true, outcome: "allowed" }]);
  });
});
