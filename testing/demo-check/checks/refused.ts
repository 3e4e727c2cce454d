import net from "node:net";
import type { Check } from "../ledger.ts";
import { client, foreignIdentity, type IdentityFiles } from "../openssl.ts";
import { must, until } from "../wait.ts";
import { TRUST_DOMAIN, type World } from "../world.ts";
import { podsBehind, question } from "./edges.ts";

/** Bytes of an app: none may reach a caller that is refused. A sidecar may tell a plaintext caller why, as HTTP. */
const APPLICATION = /HTTP\/1\.[01] [1-3]|PONG|x-served-by/;
const CLOSED_MS = 10_000;
const TARGETS = [
  { service: "catalog", port: 8081, alpn: "http/1.1" },
  { service: "catalog", port: 8081, alpn: "" },
  { service: "kv", port: 7000, alpn: "weft-tcp/1" },
] as const;

async function mustRefuse(world: World, what: string, identity: IdentityFiles | undefined): Promise<void> {
  const { bundle } = await world.identity("frontend");
  for (const { service, port, alpn } of TARGETS) {
    const [pod] = await podsBehind(world, service);
    must(pod !== undefined, `there is no pod of ${service}`);
    const options = { address: pod.podAddress, port, bundle, alpn, trustDomain: TRUST_DOMAIN };
    const talk = client(identity === undefined ? options : { ...options, identity });
    talk.say(question(service).ask);
    try {
      await until(`${what} at ${pod.name}:${port}: the connection is closed`, CLOSED_MS, () => talk.ended);
      must(!APPLICATION.test(talk.output), `${what} at ${pod.name}:${port}: an application byte came: ${talk.lastWords()}`);
    } finally {
      talk.close();
    }
  }
}

/** What a plaintext client reads until it is cut off. */
function plaintext(address: string, port: number, ask: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let received = "";
    const socket = net.connect({ host: address, port });
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`${address}:${port} keeps a plaintext connection`));
    }, CLOSED_MS);
    socket.setEncoding("latin1").on("data", (text) => (received += String(text)));
    socket.once("connect", () => socket.write(ask));
    socket.on("error", () => {});
    socket.once("close", () => {
      clearTimeout(timer);
      resolve(received);
    });
  });
}

export const refused: Check = {
  name: "no certificate, a foreign CA's certificate with the right id, and plaintext are each refused by an inbound",
  body: async (world) => {
    await mustRefuse(world, "no certificate", undefined);
    const uri = `spiffe://${TRUST_DOMAIN}/ns/shop/sa/frontend`;
    await mustRefuse(world, "foreign CA", await foreignIdentity(world.folder("foreign-client"), uri));
    for (const { service, port } of TARGETS.slice(1)) {
      const [pod] = await podsBehind(world, service);
      must(pod !== undefined, `there is no pod of ${service}`);
      const received = await plaintext(pod.podAddress, port, question(service).ask);
      must(
        !APPLICATION.test(received) && (received === "" || received.includes("WEFT_PLAINTEXT_REFUSED")),
        `plaintext at ${pod.name}: ${JSON.stringify(received)}`,
      );
    }
    return `not one application byte at ${TARGETS.length} inbounds each`;
  },
};
