import fs from "node:fs";
import path from "node:path";
import { SERVER_NAME } from "../certificates.ts";
import { freePort, listens, type Running } from "../processes.ts";
import type { Ground, Target } from "./target.ts";

// `maxconn` stays below what the limit of open files allows; one thread, as all peers have.
const HEAD = `
global
  nbthread 1
  maxconn 4000
  ssl-default-bind-options ssl-min-ver TLSv1.3
  ssl-default-server-options ssl-min-ver TLSv1.3
defaults
  timeout connect 1s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
`;

async function startHaproxy(ground: Ground, name: string, port: number, sections: string): Promise<Running> {
  const file = path.join(ground.folder, `${name}-${port}.cfg`);
  fs.writeFileSync(file, `${HEAD}${sections}`);
  const running = ground.processes.start({ name, program: "haproxy", args: ["-db", "-f", file] });
  await listens(running, "127.0.0.1", port);
  return running;
}

function section(mode: "http" | "tcp", port: number, bind: string, server: string): string {
  const reuse = mode === "http" ? "  http-reuse always\n" : "  option splice-auto\n";
  return `listen bench\n  mode ${mode}\n${reuse}  bind 127.0.0.1:${port} ${bind}\n  server app ${server}\n`;
}

export async function haproxyHop(ground: Ground, mode: "http" | "tcp"): Promise<Target> {
  const { host, httpPort, echoPort } = ground.backends;
  const port = await freePort();
  const to = `${host}:${mode === "http" ? httpPort : echoPort}`;
  const running = await startHaproxy(ground, `haproxy-${mode}`, port, section(mode, port, "", to));
  return { host: "127.0.0.1", port, pids: [running.pid] };
}

/** Two processes with mutual TLS 1.3 between. HAProxy checks the DNS name; it cannot check a SPIFFE id. */
export async function haproxyPair(ground: Ground, between: "h1" | "h2" | "tcp"): Promise<Target> {
  const { host, httpPort, echoPort } = ground.backends;
  const { ca, client, server } = ground.certificates;
  const [outPort, inPort] = [await freePort(), await freePort()];
  const mode = between === "tcp" ? "tcp" : "http";
  const offers = mode === "http" ? "alpn h2,http/1.1" : "";
  const asks = between === "tcp" ? "no-ssl-reuse" : `alpn ${between === "h2" ? "h2" : "http/1.1"}`;
  const bind = `ssl crt ${server.pem} ca-file ${ca} verify required ${offers}`;
  const inbound = section(mode, inPort, bind, `${host}:${mode === "http" ? httpPort : echoPort}`);
  const receiver = await startHaproxy(ground, `haproxy-${between}-in`, inPort, inbound);
  const check = `ssl verify required ca-file ${ca} crt ${client.pem} sni str(${SERVER_NAME}) verifyhost ${SERVER_NAME}`;
  const sender = await startHaproxy(
    ground,
    `haproxy-${between}-out`,
    outPort,
    section(mode, outPort, "", `127.0.0.1:${inPort} ${check} ${asks}`),
  );
  return { host: "127.0.0.1", port: outPort, pids: [sender.pid, receiver.pid] };
}
