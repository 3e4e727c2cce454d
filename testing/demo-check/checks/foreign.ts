import type { Check } from "../ledger.ts";
import { scrape, sum } from "../metrics.ts";
import { foreignIdentity, type IdentityFiles, namesIn, server, type Talk } from "../openssl.ts";
import { must, until } from "../wait.ts";
import { TRUST_DOMAIN, type World } from "../world.ts";

const HELLO = "hello from a probe in the mesh\n";
const REPLY = "hello from openssl\n";

interface Conversation {
  /** All that openssl printed. */
  readonly talk: Talk;
  readonly received: string;
  /** How the caller's connection ended. */
  readonly ended: string;
}

/** Calls Service foreign through the mesh while `identity` answers there: at once, or only when it was spoken to. */
async function callForeign(world: World, identity: IdentityFiles, answers: "at once" | "when spoken to"): Promise<Conversation> {
  const run = await world.shop();
  const { address, port } = await world.foreign();
  const { bundle } = await world.identity("foreign");
  const talk = await server(address, port, identity, bundle);
  try {
    const probe = await world.probe(run);
    const answer = probe.tcp("foreign", HELLO, REPLY.length, 6000);
    if (answers === "when spoken to") await Promise.race([talk.hear(new RegExp(HELLO), 6000).catch(() => {}), answer]);
    talk.say(REPLY);
    if (answers === "when spoken to") await talk.finish();
    return { talk, ...(await answer) };
  } finally {
    talk.close();
  }
}

export const foreignServer: Check = {
  name: "openssl s_server -Verify, put in as an endpoint, sees the caller's certificate and talks with it",
  body: async (world) => {
    const { talk, received, ended } = await callForeign(world, await world.identity("foreign"), "when spoken to");
    must(talk.output.includes(HELLO.trim()), `it heard nothing of the caller: ${talk.lastWords()}; the caller's end: ${ended}`);
    must(received === REPLY, `the caller received ${JSON.stringify(received)}`);
    const names = await namesIn(talk.certificates()[0] ?? "");
    const want = `URI:spiffe://${TRUST_DOMAIN}/ns/shop/sa/probe`;
    must(names.length === 1 && names[0] === want, `the caller's certificate names ${names.join(", ")} instead of ${want}`);
    return `${want}, and a line each way`;
  },
};

/** TCP connections to Service foreign that the probe's sidecar gave up, by reason. */
async function refusals(world: World, reason: string): Promise<number> {
  const { podAddress } = await (await world.shop()).pod("probe-0");
  return sum(await scrape(podAddress), "weft_tcp_connections_total", {
    direction: "outbound",
    server_address: "foreign.shop",
    error_type: reason,
  });
}

async function mustRefuse(world: World, what: string, identity: IdentityFiles, reason: string): Promise<string> {
  const before = await refusals(world, reason);
  // It speaks before it knows whether it is believed: not a byte of that may reach the caller.
  const { talk, received, ended } = await callForeign(world, identity, "at once");
  must(received === "", `${what}: the caller received ${JSON.stringify(received)}`);
  must(!talk.output.includes(HELLO.trim()), `${what}: the caller's bytes reached it`);
  await until(`${what}: the sidecar counts ${reason}`, 5000, async () => (await refusals(world, reason)) > before);
  return `${what}: ${reason}, the caller saw ${ended === "" ? "silence" : ended}`;
}

export const wrongServer: Check = {
  name: "as an endpoint, the right CA's certificate with the wrong id and a foreign CA's with the right id are refused",
  body: async (world) => {
    const wrongId = await mustRefuse(world, "wrong id", await world.identity("catalog"), "WEFT_PEER_IDENTITY");
    const foreign = await foreignIdentity(world.folder("foreign-server"), `spiffe://${TRUST_DOMAIN}/ns/shop/sa/foreign`);
    const foreignCa = await mustRefuse(world, "foreign CA", foreign, "WEFT_TLS_FAILED");
    return `${wrongId}; ${foreignCa}`;
  },
};
