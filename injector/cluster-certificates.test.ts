import assert from "node:assert/strict";
import { randomBytes, X509Certificate } from "node:crypto";
import https from "node:https";
import { KubeError } from "#kube/kube-error.ts";
import type { KubeRequest } from "#kube/client.ts";
import { SystemClock } from "#runtime/clock.ts";
import { createLogger } from "#runtime/logger.ts";
import { ManualClock } from "#testing/manual-clock.ts";
import type { ServingCertificate } from "./certificates.ts";
import { ClusterCertificates } from "./cluster-certificates.ts";
import { list, record, type Json } from "./pod.ts";
import { renewed, type WebhookKeys } from "./webhook-authority.ts";

const NAMES = ["weft-injector.weft-system.svc"];
const DAY_MS = 24 * 3_600_000;
const nowMs = new SystemClock().wallMs();
const ends = (pem: string): number => new X509Certificate(pem).validToDate.getTime();
const authorities = (pem: string): number => pem.split("BEGIN CERTIFICATE").length - 1;

describe("the webhook's keys", () => {
  const made = renewed(null, NAMES, nowMs, randomBytes);

  it("serve TLS for the Service's name to a client that trusts the caBundle", async () => {
    const server = https.createServer({ cert: made.cert, key: made.key }, (_request, response) => response.end("ok"));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
    const { port } = server.address() as { port: number };
    const status = await new Promise((resolve, reject) => {
      const options = { host: "127.0.0.1", port, ca: made.caCert, servername: NAMES[0], agent: false } as const;
      https.get(options, (response) => resolve(response.resume().statusCode)).on("error", reject);
    });
    server.close();
    assert.equal(status, 200);
  });

  it("stay while nothing is due", () => {
    assert.equal(renewed(made, NAMES, nowMs + 59 * DAY_MS, randomBytes), made);
  });

  it("get a new leaf of the same authority a month before its end", () => {
    const next = renewed(made, NAMES, nowMs + 61 * DAY_MS, randomBytes);
    assert.deepEqual([next.caCert === made.caCert, next.cert === made.cert, ends(next.cert) > ends(made.cert)], [true, false, true]);
  });

  it("get a new leaf when the names change", () => {
    const next = renewed(made, ["other.weft-system.svc"], nowMs, randomBytes);
    assert.deepEqual(
      [next.caCert === made.caCert, new X509Certificate(next.cert).checkHost("other.weft-system.svc")],
      [true, "other.weft-system.svc"],
    );
  });

  it("get a new authority a year before the old one ends, trusted beside it, before a leaf is signed with it", () => {
    const laterMs = nowMs + 3_290 * DAY_MS;
    const leafed = renewed(made, NAMES, nowMs + 3_280 * DAY_MS, randomBytes);
    const next = renewed(leafed, NAMES, laterMs, randomBytes);
    const after = renewed(next, NAMES, laterMs + 61 * DAY_MS, randomBytes);
    const verifies = ({ cert, caCert }: WebhookKeys): boolean => new X509Certificate(cert).verify(new X509Certificate(caCert).publicKey);
    assert.deepEqual([authorities(next.caCert), next.cert === leafed.cert, verifies(next)], [2, true, false]);
    assert.deepEqual([authorities(after.caCert), after.cert === leafed.cert, verifies(after)], [2, false, true]);
  });

  it("are made anew when they are broken", () => {
    for (const broken of [
      { ...made, caKey: made.key },
      { ...made, caCert: "x" },
      { ...made, key: made.caKey },
      { ...made, cert: "" },
    ])
      assert.equal(ends(renewed(broken, NAMES, nowMs, randomBytes).cert) > nowMs, true);
  });
});

/** An API server that knows one Secret and the two webhook configurations. */
class World {
  version = 1;
  data: Json = {};
  readonly bundles = new Map<string, string>([
    ["mutatingwebhookconfigurations", ""],
    ["validatingwebhookconfigurations", ""],
  ]);
  readonly asked: string[] = [];
  down = false;

  request = async ({ method, path, body }: KubeRequest): Promise<{ status: number; body: unknown }> => {
    this.asked.push(`${method} ${path.split("/").slice(-2).join("/")}`);
    if (this.down) throw new KubeError("no answer");
    const plural = [...this.bundles.keys()].find((name) => path.includes(name));
    if (plural !== undefined && method === "PATCH") {
      const [webhook] = list(record(body)["webhooks"]).map(record);
      this.bundles.set(plural, String(record(webhook?.["clientConfig"])["caBundle"]));
    } else if (plural !== undefined) {
      const caBundle = this.bundles.get(plural);
      return {
        status: 200,
        body: { webhooks: [{ name: "a.weft.dev", clientConfig: { service: {}, ...(caBundle === "" ? {} : { caBundle }) } }] },
      };
    } else if (method === "PUT") {
      if (record(record(body)["metadata"])["resourceVersion"] !== String(this.version)) throw new KubeError("conflict", 409, "Conflict");
      this.version++;
      this.data = record(record(body)["data"]);
    }
    return {
      status: 200,
      body: { kind: "Secret", metadata: { name: "weft-injector-tls", resourceVersion: String(this.version) }, data: this.data },
    };
  };
}

function replica(world: World, clock: ManualClock) {
  const taken: ServingCertificate[] = [];
  const refused: string[] = [];
  const source = new ClusterCertificates({
    client: world,
    clock,
    randomBytes,
    logger: createLogger(() => {}, clock, "info"),
    namespace: "weft-system",
    secret: "weft-injector-tls",
    webhooks: "weft-injector",
    dnsNames: NAMES,
  });
  source.start(
    (certificate) => taken.push(certificate),
    (why) => refused.push(why),
  );
  return { taken, refused, source };
}

/** Lets what was asked be answered; advances the clock in between. */
async function until(clock: ManualClock, isSo: () => boolean): Promise<void> {
  for (let turn = 0; !isSo() && turn < 1_000; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
    if (turn % 10 === 9) clock.advance(2_000);
  }
}

describe("serving certificates in a cluster", () => {
  it("are made once by replicas that start together, and both serve the same", async () => {
    const world = new World();
    const clock = new ManualClock(nowMs);
    const replicas = [replica(world, clock), replica(world, clock)];
    await until(clock, () => replicas.every(({ taken }) => taken.length > 0));
    for (const { source } of replicas) source.close();
    assert.deepEqual([world.version, replicas[0]?.taken[0]?.certPem === replicas[1]?.taken[0]?.certPem], [2, true]);
  });

  it("have their caBundle written to both configurations, again when somebody takes it away, and not otherwise", async () => {
    const world = new World();
    const clock = new ManualClock(nowMs);
    const { source } = replica(world, clock);
    const patches = (): number => world.asked.filter((asked) => asked.startsWith("PATCH")).length;
    await until(clock, () => patches() === 2);
    const written = [...world.bundles.values()];
    const looks = world.asked.length;
    await until(clock, () => world.asked.length > looks + 9);
    const quiet = patches();
    world.bundles.set("mutatingwebhookconfigurations", "");
    await until(clock, () => patches() === 3);
    source.close();
    assert.deepEqual(
      [quiet, new Set(written).size, written[0] === Buffer.from(Buffer.from(String(world.data["ca.crt"]), "base64")).toString("base64")],
      [2, 1, true],
    );
    assert.equal(world.bundles.get("mutatingwebhookconfigurations"), written[0]);
  });

  it("stay in use while the API server is gone, which is told once", async () => {
    const world = new World();
    const clock = new ManualClock(nowMs);
    const { taken, refused, source } = replica(world, clock);
    await until(clock, () => taken.length === 1);
    world.down = true;
    const before = world.asked.length;
    await until(clock, () => world.asked.length > before + 5);
    source.close();
    assert.deepEqual([taken.length, refused], [1, ["no answer"]]);
  });

  it("use no verb or resource but those that the chart grants", async () => {
    const world = new World();
    const clock = new ManualClock(nowMs);
    const { source } = replica(world, clock);
    await until(clock, () => world.asked.filter((asked) => asked.startsWith("PATCH")).length === 2);
    source.close();
    assert.deepEqual([...new Set(world.asked)].sort(), [
      "GET mutatingwebhookconfigurations/weft-injector",
      "GET secrets/weft-injector-tls",
      "GET validatingwebhookconfigurations/weft-injector",
      "PATCH mutatingwebhookconfigurations/weft-injector",
      "PATCH validatingwebhookconfigurations/weft-injector",
      "PUT secrets/weft-injector-tls",
    ]);
  });
});
