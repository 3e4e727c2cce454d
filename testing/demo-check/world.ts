import fs from "node:fs";
import path from "node:path";
import { type IdentityFiles, identityFiles } from "./openssl.ts";
import { Probe } from "./probe.ts";
import { Run } from "./run.ts";
import { type ForeignEndpoint, foreignEndpoint, layOutShop, type ShopOptions } from "./stage.ts";
import { must, until } from "./wait.ts";

/** Longest wait for a run to be ready, milliseconds. */
const START_MS = 90_000;

export const TRUST_DOMAIN = "cluster.local";

export interface Places {
  /** The checkout, or a copy of what is needed of it. */
  readonly root: string;
  /** Folder of this demo-check, removed at its end. */
  readonly stage: string;
  /** The Node that a user without Weft's has. */
  readonly usersNode: string;
}

/** What the checks share: the runs, each started when the first check asks for it, and identities fetched from them. */
export class World {
  readonly places: Places;
  private readonly runs = new Map<string, Promise<Run>>();
  private readonly started: Run[] = [];
  private readonly identities = new Map<string, Promise<IdentityFiles>>();
  private shopReady: Promise<Run> | null = null;
  private rotatingReady: Promise<Run> | null = null;
  private foreignPromise: Promise<ForeignEndpoint> | null = null;

  constructor(places: Places) {
    this.places = places;
  }

  /** The shop with its visitors and ten-minute certificates, by the pinned Node; not ready yet. */
  starting(): Promise<Run> {
    return this.run("shop", process.execPath, { ttl: "10m", visitors: 1 });
  }

  /** The same, once all its pods have been ready. */
  shop(): Promise<Run> {
    return (this.shopReady ??= this.starting().then(ready));
  }

  /** The shop without visitors and with one-minute certificates, by the user's own Node; once all was ready. */
  rotating(): Promise<Run> {
    return (this.rotatingReady ??= this.run("rotating", this.places.usersNode, { ttl: "60s", visitors: 0 }).then(ready));
  }

  foreign(): Promise<ForeignEndpoint> {
    return (this.foreignPromise ??= foreignEndpoint());
  }

  async probe(run: Run, pod = "probe-0"): Promise<Probe> {
    return new Probe((await run.pod(pod)).appAddress);
  }

  /** `weft identity fetch` from the shop's run, once a service account. */
  identity(serviceAccount: string): Promise<IdentityFiles> {
    const known = this.identities.get(serviceAccount);
    if (known !== undefined) return known;
    const fetched = this.fetch(serviceAccount);
    this.identities.set(serviceAccount, fetched);
    return fetched;
  }

  /** A folder for files of one check. */
  folder(name: string): string {
    const folder = path.join(this.places.stage, "files", name);
    fs.mkdirSync(folder, { recursive: true });
    return folder;
  }

  async dispose(): Promise<void> {
    await Promise.all(this.started.map((run) => run.dispose()));
  }

  private run(name: string, node: string, options: ShopOptions): Promise<Run> {
    const known = this.runs.get(name);
    if (known !== undefined) return known;
    const starting = this.start(name, node, options);
    this.runs.set(name, starting);
    return starting;
  }

  private async start(name: string, node: string, options: ShopOptions): Promise<Run> {
    const folder = path.join(this.places.stage, name);
    layOutShop(this.places.root, folder, await this.foreign(), options);
    const run = new Run(node, path.join(this.places.root, "bin", "weft.js"), folder);
    this.started.push(run);
    return run;
  }

  private async fetch(serviceAccount: string): Promise<IdentityFiles> {
    const run = await this.shop();
    const folder = this.folder(`id-${serviceAccount}`);
    const { code, stderr } = await run.weft("identity", "fetch", "--service-account", `shop/${serviceAccount}`, "--out", folder);
    must(code === 0, `weft identity fetch: ${stderr}`);
    return identityFiles(folder);
  }
}

async function ready(run: Run): Promise<Run> {
  await until("the run answers", START_MS, () => run.ended || fs.existsSync(path.join(run.stateFolder, "control.sock")));
  await run.allReady(START_MS);
  return run;
}
