import assert from "node:assert/strict";
import { createHash, createPublicKey, verify, X509Certificate } from "node:crypto";
import { createServer } from "node:net";
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { IdentityService, type IssueRequest } from "#api/gen/weft/identity/v1/identity_pb.ts";
import { SystemClock } from "#runtime/clock.ts";
import { ManualClock } from "#testing/manual-clock.ts";
import { type FetchOptions, fetchIdentity, IdentityError } from "./client.ts";
import { type Authority, makeAuthority } from "./testdata/authority.ts";
import { startOperator, type TestOperator } from "./testdata/operator.ts";

const OPERATOR_ID = "spiffe://cluster.local/ns/weft-system/sa/weft-operator";
const ID = "spiffe://cluster.local/ns/shop/sa/cart";
const clock = new SystemClock();

let authority: Authority;
let foreign: Authority;
const running: TestOperator[] = [];
beforeAll(async () => {
  authority = await makeAuthority();
  foreign = await makeAuthority("CN=foreign");
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((operator) => operator.close()));
});

type Answer = { chain?: Uint8Array[]; roots?: Uint8Array[]; spiffeId?: string; renewAfterPercent?: number };

/** An honest operator, unless `change` says otherwise. */
function issuing(seen: IssueRequest[], change: (honest: Required<Answer>, request: IssueRequest) => Answer | Promise<Answer> = () => ({})) {
  return (router: ConnectRouter): void => {
    router.service(IdentityService, {
      async issue(request) {
        seen.push(request);
        const leaf = await authority.issue({ uris: [ID], spki: request.publicKey });
        const honest = { chain: [leaf.der], roots: [authority.rootDer], spiffeId: ID, renewAfterPercent: 70 };
        return { ...honest, trustDomain: "cluster.local", ...(await change(honest, request)) };
      },
    });
  };
}

async function operator(
  routes: (router: ConnectRouter) => void,
  id = OPERATOR_ID,
  by: Authority = authority,
  maxVersion?: "TLSv1.2",
): Promise<FetchOptions> {
  const leaf = await by.issue({ uris: [id] });
  const started = await startOperator(
    { key: leaf.keyPem, cert: leaf.pem, ca: by.rootPem, ...(maxVersion === undefined ? {} : { maxVersion }) },
    routes,
  );
  running.push(started);
  return { address: started.address, bundlePem: authority.rootPem, trustDomain: "cluster.local", token: "a-token\n", clock };
}

async function failure(options: FetchOptions): Promise<{ code: string; retryable: boolean }> {
  const error = await fetchIdentity(options).then(
    () => assert.fail("an identity was given"),
    (e: unknown) => e,
  );
  assert.ok(error instanceof IdentityError, String(error));
  return { code: error.code, retryable: error.retryable };
}

describe("fetching an identity", () => {
  it("sends a P-256 key, the token, and a proof over the token's hash, and gives key, chain and roots that belong together", async () => {
    const seen: IssueRequest[] = [];
    const identity = await fetchIdentity(await operator(issuing(seen)));
    const publicKey = createPublicKey({ key: Buffer.from(seen[0]!.publicKey), format: "der", type: "spki" });
    const proven = `weft-identity-proof-v1\n${createHash("sha256").update("a-token").digest("hex")}`;
    assert.equal(publicKey.asymmetricKeyDetails?.namedCurve, "prime256v1");
    assert.equal(seen[0]!.token, "a-token");
    assert.ok(verify("sha256", Buffer.from(proven), publicKey, seen[0]!.proof));
    const leaf = new X509Certificate(identity.chainPem[0]!);
    assert.equal(identity.spiffeId, ID);
    assert.equal(leaf.publicKey.equals(publicKey), true);
    assert.equal(identity.notAfterMs, leaf.validToDate.getTime());
    assert.equal(identity.renewAfterPercent, 70);
    assert.equal(new X509Certificate(identity.rootsPem[0]!).fingerprint256, new X509Certificate(authority.rootPem).fingerprint256);
  });

  it("makes a new key each time", async () => {
    const options = await operator(issuing([]));
    const [a, b] = await Promise.all([fetchIdentity(options), fetchIdentity(options)]);
    assert.notEqual(a.keyPem, b.keyPem);
  });

  const answers: { name: string; code: Code; gives: string; retryable: boolean }[] = [
    { name: "a refused token, which is useless to send again", code: Code.Unauthenticated, gives: "WEFT_TOKEN_REFUSED", retryable: false },
    { name: "no such workload", code: Code.PermissionDenied, gives: "WEFT_TOKEN_REFUSED", retryable: false },
    { name: "a refused key", code: Code.InvalidArgument, gives: "WEFT_KEY_REFUSED", retryable: false },
    { name: "a CA that is not ready, worth another try", code: Code.Unavailable, gives: "WEFT_IDENTITY_UNAVAILABLE", retryable: true },
    { name: "a crash in the CA, worth another try", code: Code.Internal, gives: "WEFT_IDENTITY_UNAVAILABLE", retryable: true },
  ];
  it.each(answers)("tells of $name", async ({ code, gives, retryable }) => {
    const options = await operator((router) => {
      router.service(IdentityService, {
        issue: () => {
          throw new ConnectError("no", code);
        },
      });
    });
    assert.deepEqual(await failure(options), { code: gives, retryable });
  });

  const codes: { message: string; gives: string }[] = [
    { message: "WEFT_RATE_LIMITED: slow down", gives: "WEFT_RATE_LIMITED: slow down" },
    { message: "WEFT_OF_TOMORROW: who knows", gives: "WEFT_IDENTITY_UNAVAILABLE: WEFT_OF_TOMORROW: who knows" },
    { message: "", gives: "WEFT_IDENTITY_UNAVAILABLE: RESOURCE_EXHAUSTED" },
  ];
  it.each(codes)("says $gives when the operator says '$message'", async ({ message, gives }) => {
    const options = await operator((router) => {
      router.service(IdentityService, {
        issue: () => {
          throw new ConnectError(message, Code.ResourceExhausted);
        },
      });
    });
    await assert.rejects(fetchIdentity(options), { message: gives, retryable: true });
  });

  it("refuses a server that is a workload of the same CA, before it sends the token", async () => {
    const seen: IssueRequest[] = [];
    assert.deepEqual(await failure(await operator(issuing(seen), ID)), { code: "WEFT_PEER_IDENTITY", retryable: false });
    assert.equal(seen.length, 0);
  });

  it("refuses an operator of another trust domain under the same CA", async () => {
    const seen: IssueRequest[] = [];
    const options = await operator(issuing(seen), OPERATOR_ID.replace("cluster.local", "other"));
    assert.deepEqual(await failure(options), { code: "WEFT_PEER_IDENTITY", retryable: false });
    assert.equal(seen.length, 0);
  });

  it("refuses a server with the operator's id from a foreign CA, before it sends the token", async () => {
    const seen: IssueRequest[] = [];
    assert.deepEqual(await failure(await operator(issuing(seen), OPERATOR_ID, foreign)), { code: "WEFT_TLS_FAILED", retryable: false });
    assert.equal(seen.length, 0);
  });

  it("refuses TLS 1.2", async () => {
    assert.equal((await failure(await operator(issuing([]), OPERATOR_ID, authority, "TLSv1.2"))).code, "WEFT_TLS_FAILED");
  });

  it("tells of a port where nobody listens, worth another try", async () => {
    const options = await operator(issuing([]));
    await running.splice(0)[0]!.close();
    assert.deepEqual(await failure(options), { code: "WEFT_CONNECT_FAILED", retryable: true });
  });

  it("gives up on a server that accepts and says nothing, and leaves no connection behind", async () => {
    const options = await operator(issuing([]));
    const manual = new ManualClock();
    const silent = createServer();
    const ended = new Promise<void>((resolve) => {
      silent.on("connection", (socket) => {
        socket.on("close", () => resolve());
        socket.resume();
        manual.advance(10_000);
      });
    });
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const port = (silent.address() as { port: number }).port;
    assert.deepEqual(await failure({ ...options, address: `127.0.0.1:${port}`, clock: manual }), {
      code: "WEFT_CONNECT_TIMEOUT",
      retryable: true,
    });
    await ended;
    await new Promise((resolve) => silent.close(resolve));
  });

  it("tells of a bundle that is no certificate", async () => {
    const options = await operator(issuing([]));
    assert.equal((await failure({ ...options, bundlePem: "" })).code, "WEFT_TLS_FAILED");
    assert.equal((await failure({ ...options, bundlePem: "rubbish" })).code, "WEFT_TLS_FAILED");
  });

  const lies: { name: string; change: (honest: Required<Answer>, request: IssueRequest) => Answer | Promise<Answer> }[] = [
    { name: "for another key", change: async () => ({ chain: [(await authority.issue({ uris: [ID] })).der] }) },
    { name: "whose id is not what the answer says", change: () => ({ spiffeId: OPERATOR_ID }) },
    {
      name: "of another trust domain",
      change: async (_, request) => ({
        chain: [(await authority.issue({ uris: ["spiffe://other/x"], spki: request.publicKey })).der],
        spiffeId: "spiffe://other/x",
      }),
    },
    { name: "that no root issued", change: async () => ({ roots: [foreign.rootDer] }) },
    { name: "without roots", change: () => ({ roots: [] }) },
    { name: "without a chain", change: () => ({ chain: [] }) },
    { name: "that is not readable", change: () => ({ chain: [Buffer.from("rubbish")] }) },
    {
      name: "of a CA",
      change: async (_, request) => ({ chain: [(await authority.issue({ uris: [ID], isCa: true, spki: request.publicKey })).der] }),
    },
  ];
  it.each(lies)("does not take a certificate $name", async ({ change }) => {
    assert.deepEqual(await failure(await operator(issuing([], change))), { code: "WEFT_IDENTITY_UNAVAILABLE", retryable: true });
  });

  it("renews half-way when the answer does not say when", async () => {
    const identity = await fetchIdentity(await operator(issuing([], () => ({ renewAfterPercent: 0 }))));
    assert.equal(identity.renewAfterPercent, 50);
  });
});
