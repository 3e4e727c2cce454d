import type { Check } from "../ledger.ts";
import { must, seconds } from "../wait.ts";

const FIRST_REQUEST_MS = 90_000;

/** The run starts and says so. */
export const firstRequest: Check = {
  name: "the first routed request comes within 90 s of the command, then the hints",
  body: async (world) => {
    const run = await world.starting();
    const { atMs, text } = await run.line(/^first routed request after \d+\.\d s: /, FIRST_REQUEST_MS);
    const tookMs = atMs - run.startedMs;
    must(tookMs <= FIRST_REQUEST_MS, `it came after ${seconds(tookMs)} s`);
    for (const hint of [/change the split/, /inject a fault/, /stop the operator/]) await run.line(hint, 5000);
    await run.line(/^FROM +TO +RATE/, 30_000);
    const { pods } = await (await world.shop()).state();
    const said = run.lines.findIndex((line) => line.text === text);
    must(said > 0, "there was no progress before it");
    return `after ${seconds(tookMs)} s ("${text.replace(/^.*s: /, "")}"), ${said} lines of progress before it, ${pods.length} pods ready`;
  },
};

interface Condition {
  readonly type: string;
  readonly status: string;
}

/** Status and the verbs that hold pods down. */
export const status: Check = {
  name: "weft get trafficpolicy -o yaml shows Accepted and Programmed",
  body: async (world) => {
    const run = await world.shop();
    const asJson = await run.weft("get", "trafficpolicy", "-o", "json");
    must(asJson.code === 0, asJson.stderr);
    const { items } = JSON.parse(asJson.stdout) as {
      items: { metadata: { name: string }; status?: { ancestors?: { conditions: Condition[] }[] } }[];
    };
    for (const { metadata, status } of items) {
      for (const type of ["Accepted", "ResolvedRefs", "Programmed"]) {
        const found = (status?.ancestors ?? []).flatMap((a) => a.conditions).filter((c) => c.type === type);
        must(found.length > 0 && found.every((c) => c.status === "True"), `${metadata.name}: ${type} is ${JSON.stringify(found)}`);
      }
    }
    const asYaml = await run.weft("get", "trafficpolicy", "reviews", "-o", "yaml");
    must(
      /type: Accepted/.test(asYaml.stdout) && /type: Programmed/.test(asYaml.stdout),
      `the YAML shows no such condition: ${asYaml.stdout}`,
    );
    return `${items.length} policies: Accepted, ResolvedRefs and Programmed are True`;
  },
};

export const stopAndStart: Check = {
  name: "weft stop and weft start hold one of two replicas down and bring it back, without a failed request",
  body: async (world) => {
    const run = await world.shop();
    const probe = await world.probe(run);
    const load = await probe.load({ service: "catalog", paths: ["/products", "/products/loom"], rate: 50 });
    const stopped = await run.weft("stop", "catalog-1");
    must(stopped.code === 0, `weft stop: ${stopped.stderr}`);
    const held = await run.pod("catalog-1");
    must(
      !held.ready && held.pids.proxy === null && held.pids.app.every((pid) => pid === null),
      `it still runs: ${JSON.stringify(held.pids)}`,
    );
    const started = await run.weft("start", "shop/catalog-1");
    must(started.code === 0, `weft start: ${started.stderr}`);
    await run.allReady(20_000);
    const summary = await load.finish();
    must(summary.failed === 0, `${summary.failed} of ${summary.started} requests failed, the first: ${summary.failures[0]?.why}`);
    return `${summary.started} requests meanwhile, none failed`;
  },
};
