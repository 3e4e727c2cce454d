import { fileURLToPath } from "node:url";
import { freePort, listens } from "../processes.ts";
import type { Ground, Target } from "./target.ts";

/** The npm package that most proxies in Node are made with, on the same Node as Weft's. */
export async function httpProxyHop(ground: Ground): Promise<Target> {
  const port = await freePort();
  const { host, httpPort } = ground.backends;
  const program = fileURLToPath(new URL("./http-proxy-program.js", import.meta.url));
  const args = [program, String(port), host, String(httpPort)];
  const running = ground.processes.start({ name: "http-proxy", program: process.execPath, args });
  await listens(running, "127.0.0.1", port);
  return { host: "127.0.0.1", port, pids: [running.pid] };
}
