import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { writeFileSync } from "node:fs";
import { connect } from "node:http2";
import { join } from "node:path";
import { promisify } from "node:util";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { IdentityService } from "#api/gen/weft/identity/v1/identity_pb.ts";
import { parseCertificate, uriNames } from "#ca/certificate.ts";
import { fetchSvid, newKeys, requestFor, startTestOperator, type TestOperator, transportTo } from "./test-operator.ts";

const run = promisify(execFile);

describe("the identity service over TLS", () => {
  let test: TestOperator;
  const client = () => createClient(IdentityService, transportTo(test.operator.grpcPort));
  const refusal = async (request: Parameters<ReturnType<typeof client>["issue"]>[0]): Promise<ConnectError> => {
    const error = await client()
      .issue(request)
      .then(
        () => null,
        (e: unknown) => e,
      );
    assert.ok(error instanceof ConnectError, String(error));
    return error;
  };

  beforeAll(async () => {
    test = await startTestOperator([
      {
        apiVersion: "weft.dev/v1alpha1",
        kind: "MeshIdentity",
        metadata: { name: "mesh", namespace: "weft-system" },
        spec: { trustDomain: "example.test", certificates: { ttl: "60s", renewAfterPercent: 40 } },
      },
    ]);
    test.store.grant("good", { namespace: "shop", serviceAccount: "web", pod: "web-0", podUid: "1" });
  });
  afterAll(async () => test.close());

  it("issues an SVID whose names come from the token", async () => {
    const before = Date.UTC(2020, 0);
    const { response } = await fetchSvid(test, "shop", "web", "web-0");
    assert.equal(response.spiffeId, "spiffe://example.test/ns/shop/sa/web");
    assert.equal(response.trustDomain, "example.test");
    assert.equal(response.renewAfterPercent, 40);
    assert.ok(Number(response.notBeforeMs) > before);
    assert.equal(Number(response.notAfterMs - response.notBeforeMs), 360_000);
    assert.deepEqual(uriNames(parseCertificate(response.chain[0] ?? new Uint8Array())), [response.spiffeId]);
    assert.equal(response.chain.length, 2);
  });

  it("issues chains that OpenSSL accepts strictly", async () => {
    const { response } = await fetchSvid(test, "shop", "web", "web-0");
    const write = (name: string, der: Uint8Array | undefined): string => {
      const path = join(test.stateDir, name);
      writeFileSync(path, new X509Certificate(der ?? new Uint8Array()).toString());
      return path;
    };
    const [leaf, issuer, root] = [write("l.pem", response.chain[0]), write("i.pem", response.chain[1]), write("r.pem", response.roots[0])];
    const { stdout } = await run("openssl", ["verify", "-x509_strict", "-CAfile", root, "-untrusted", issuer, leaf]);
    assert.match(stdout, /: OK/);
  });

  it("shows the operator's own SVID, under the same root", async () => {
    const { ca } = await fetchSvid(test, "shop", "web", "web-0");
    const session = connect(`https://127.0.0.1:${test.operator.grpcPort}`, { ca, checkServerIdentity: () => undefined });
    await new Promise((resolve, reject) => session.once("connect", resolve).once("error", reject));
    const socket = session.socket as unknown as { getPeerCertificate(): { raw: Buffer }; authorized: boolean };
    const certificate = parseCertificate(socket.getPeerCertificate().raw);
    assert.equal(socket.authorized, true);
    session.close();
    assert.deepEqual(uriNames(certificate), ["spiffe://example.test/ns/weft-system/sa/weft-operator"]);
    assert.match(new X509Certificate(certificate.der).subjectAltName ?? "", /DNS:weft-operator\.weft-system\.svc/);
  });

  it.each([
    { name: "an RSA key", key: () => generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey },
    { name: "a P-384 key", key: () => generateKeyPairSync("ec", { namedCurve: "P-384" }).publicKey },
    { name: "an Ed25519 key", key: () => generateKeyPairSync("ed25519").publicKey },
  ])("refuses $name", async ({ key }) => {
    const error = await refusal({ ...requestFor("good"), publicKey: new Uint8Array(key().export({ format: "der", type: "spki" })) });
    assert.equal(error.code, Code.InvalidArgument);
    assert.equal(error.metadata.get("weft-code"), "WEFT_KEY_REFUSED");
  });

  it.each([
    { name: "a key that is no key", change: { publicKey: new Uint8Array([1, 2, 3]) }, code: Code.InvalidArgument },
    { name: "a key of 2 KiB", change: { publicKey: new Uint8Array(2048) }, code: Code.InvalidArgument },
    { name: "no token", change: { token: "" }, code: Code.InvalidArgument },
    { name: "a token of 17 KiB", change: { token: "x".repeat(17 * 1024) }, code: Code.InvalidArgument },
    { name: "a request of a megabyte", change: { proof: new Uint8Array(1 << 20) }, code: Code.ResourceExhausted },
    { name: "a proof of nothing", change: { proof: new Uint8Array() }, code: Code.Unauthenticated },
    { name: "a proof by another key", change: { proof: requestFor("good").proof }, code: Code.Unauthenticated },
    { name: "a proof over another token", change: { token: "other" }, code: Code.Unauthenticated },
  ])("refuses $name", async ({ change, code }) => {
    assert.equal((await refusal({ ...requestFor("good", newKeys()), ...change })).code, code);
  });

  it("refuses a token that proves nothing, with the code in message, trailer and details", async () => {
    const error = await refusal(requestFor("unknown"));
    assert.equal(error.code, Code.Unauthenticated);
    assert.match(error.rawMessage, /^WEFT_TOKEN_REFUSED: /);
    assert.equal(error.metadata.get("weft-code"), "WEFT_TOKEN_REFUSED");
    assert.equal(error.details.length, 1);
  });

  it("refuses names that would leave their place in the SPIFFE id", async () => {
    test.store.grant("slash", { namespace: "shop/sa/root", serviceAccount: "web", pod: "", podUid: "" });
    test.store.grant("dots", { namespace: "..", serviceAccount: "web", pod: "", podUid: "" });
    assert.equal((await refusal(requestFor("slash"))).code, Code.Unauthenticated);
    assert.equal((await refusal(requestFor("dots"))).code, Code.Unauthenticated);
  });

  it("answers UNAVAILABLE while the attestor is down, and issues nothing", async () => {
    test.store.failure = new Error("down");
    const error = await refusal(requestFor("good"));
    test.store.failure = null;
    assert.equal(error.code, Code.Unavailable);
    assert.equal(error.metadata.get("weft-code"), "WEFT_IDENTITY_UNAVAILABLE");
  });

  it("limits how often one token may ask", async () => {
    test.store.grant("busy", { namespace: "shop", serviceAccount: "busy", pod: "", podUid: "" });
    const request = requestFor("busy");
    const shared = client();
    const results = await Promise.all(
      Array.from({ length: 200 }, () =>
        shared.issue(request).then(
          () => "issued",
          (e: ConnectError) => Code[e.code] ?? "?",
        ),
      ),
    );
    assert.ok(results.filter((r) => r === "issued").length >= 20);
    assert.ok(results.includes("ResourceExhausted"));
  });

  it("counts outcomes", async () => {
    const metrics = await (await fetch(`http://127.0.0.1:${test.operator.adminPort}/metrics`)).text();
    for (const outcome of ["issued", "refused", "rate_limited", "unavailable"])
      assert.match(metrics, new RegExp(`weft_ca_issued_total\\{outcome="${outcome}"\\} [1-9]`));
  });

  it("takes no change of the trust domain", async () => {
    test.store.apply({
      apiVersion: "weft.dev/v1alpha1",
      kind: "MeshIdentity",
      metadata: { name: "mesh", namespace: "weft-system" },
      spec: { trustDomain: "other.test" },
    });
    const { response } = await fetchSvid(test, "shop", "late");
    assert.equal(response.trustDomain, "example.test");
  });
});

describe("an operator's admin server", () => {
  it("is live, and ready once it serves", async () => {
    const test = await startTestOperator([]);
    const get = (path: string) => fetch(`http://127.0.0.1:${test.operator.adminPort}${path}`);
    assert.equal((await get("/livez")).status, 200);
    assert.equal((await get("/readyz")).status, 200);
    assert.equal((await get("/config")).status, 404);
    assert.equal((await fetch(`http://127.0.0.1:${test.operator.adminPort}/metrics`, { method: "POST", body: "x" })).status, 405);
    await test.close();
  });
});
