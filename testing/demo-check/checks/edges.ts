import type { Check } from "../ledger.ts";
import { scrape, sum } from "../metrics.ts";
import { client, namesIn } from "../openssl.ts";
import type { PodState } from "../run.ts";
import { must, until } from "../wait.ts";
import { TRUST_DOMAIN, type World } from "../world.ts";

/** Who calls whom in the shop. */
const EDGES: readonly (readonly [caller: string, callee: string, port: number])[] = [
  ["load", "frontend", 8080],
  ["frontend", "catalog", 8081],
  ["frontend", "reviews", 8082],
  ["frontend", "cart", 8083],
  ["frontend", "checkout", 8084],
  ["checkout", "cart", 8083],
  ["checkout", "catalog", 8081],
  ["cart", "kv", 7000],
];
const KV = "kv";
const ANSWER_MS = 10_000;

/** The pods behind a Service of the shop: there the service account is called as the Service. */
export async function podsBehind(world: World, service: string): Promise<readonly PodState[]> {
  const { pods } = await (await world.shop()).state();
  return pods.filter((p) => p.serviceAccount === service);
}

/** Bytes that only the app behind the sidecar can have written. */
export function question(service: string): { readonly ask: string; readonly answer: RegExp } {
  if (service === KV) return { ask: "PING\n", answer: /PONG/ };
  return { ask: `GET /healthz HTTP/1.1\r\nHost: ${service}\r\n\r\n`, answer: /HTTP\/1\.1 200 OK[\s\S]*x-served-by: /i };
}

async function handshake(world: World, caller: string, callee: string, pod: PodState, port: number, alpn: string): Promise<void> {
  const identity = await world.identity(caller);
  const { ask, answer } = question(callee);
  const talk = client({ address: pod.podAddress, port, identity, bundle: identity.bundle, alpn, trustDomain: TRUST_DOMAIN });
  const where = `${caller} → ${pod.name}:${port}${alpn === "" ? ", no ALPN" : ""}`;
  try {
    talk.say(ask);
    await talk.hear(answer, ANSWER_MS).catch((error: Error) => {
      throw new Error(`${where}: ${error.message}`);
    });
    must(/New, TLSv1\.3, Cipher is/.test(talk.output), `${where}: not TLS 1.3`);
    must(/Verification: OK/.test(talk.output), `${where}: the chain does not verify`);
    if (alpn !== "") must(talk.output.includes(`ALPN protocol: ${alpn}`), `${where}: ALPN ${alpn} was not taken`);
    const names = await namesIn(talk.certificates()[0] ?? "");
    const want = `URI:spiffe://${TRUST_DOMAIN}/ns/shop/sa/${callee}`;
    must(names.length === 1 && names[0] === want, `${where}: the certificate names ${names.join(", ")} instead of ${want}`);
  } finally {
    talk.close();
  }
}

export const everyEdge: Check = {
  name: "on every edge openssl s_client with the caller's SVID finds the callee's URI SAN and reads a byte of the app",
  body: async (world) => {
    const run = await world.shop();
    const wanted = EDGES.map(([caller, callee, port]) => `shop/${caller} ${callee}:${port}`).sort();
    await until("the run sees every edge", 40_000, async () => {
      const { edges } = await run.state();
      const seen = new Set(
        edges.filter((e) => e.tls === "mtls" && !/^shop\/(probe|sink)$/.test(e.from)).map((e) => `${e.from} ${e.to}:${e.port}`),
      );
      const missing = wanted.filter((edge) => !seen.has(edge));
      const unknown = [...seen].filter((edge) => !wanted.includes(edge));
      must(unknown.length === 0, `edges that are not expected: ${unknown.join(", ")}`);
      must(missing.length === 0, `no traffic on ${missing.join(", ")}`);
      return true;
    });
    let handshakes = 0;
    for (const [caller, callee, port] of EDGES) {
      for (const pod of await podsBehind(world, callee)) {
        const alpns = callee === KV ? ["weft-tcp/1"] : ["http/1.1", ""];
        for (const alpn of alpns) await handshake(world, caller, callee, pod, port, alpn);
        handshakes += alpns.length;
      }
    }
    return `${EDGES.length} edges, ${handshakes} handshakes of TLS 1.3, each answered by the app`;
  },
};

function plaintext(name: string): Check {
  return {
    name,
    body: async (world) => {
      const { pods } = await (await world.shop()).state();
      for (const pod of pods) {
        const series = await until(`metrics of ${pod.name}`, 10_000, () => scrape(pod.podAddress));
        must(sum(series, "weft_build_info") === 1, `${pod.name} tells nothing of itself`);
        const count = sum(series, "weft_inbound_plaintext_connections_total");
        must(count === 0, `${pod.name} let ${count} connections in without TLS`);
      }
      return `0 on ${pods.length} inbounds`;
    },
  };
}

export const plaintextSoFar = plaintext("after all of the above every inbound's plaintext counter is 0");
export const plaintextAtEnd = plaintext("at the end every inbound's plaintext counter is still 0");
