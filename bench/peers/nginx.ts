import fs from "node:fs";
import path from "node:path";
import { SERVER_NAME } from "../certificates.ts";
import { freePort, listens, type Running } from "../processes.ts";
import type { Ground, Target } from "./target.ts";

const ENDLESS = "keepalive_requests 100000000; keepalive_timeout 600s;";

async function startNginx(ground: Ground, name: string, port: number, upstream: string, server: string): Promise<Running> {
  const folder = path.join(ground.folder, `${name}-${port}`);
  fs.mkdirSync(folder);
  const file = path.join(folder, "nginx.conf");
  const spare = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((t) => `${t}_temp_path ${folder}/${t};`).join(" ");
  fs.writeFileSync(
    file,
    // One process: worker and master in one, so that there is one pid to measure and to end.
    `daemon off; master_process off; pid ${folder}/pid; error_log stderr warn;
events { worker_connections 16384; }
http {
  access_log off; ${ENDLESS} ${spare}
  upstream to { server ${upstream}; keepalive 1024; ${ENDLESS} }
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
  server { ${server} }
}
`,
  );
  const running = ground.processes.start({ name, program: "nginx", args: ["-p", folder, "-e", "stderr", "-c", file] });
  await listens(running, "127.0.0.1", port);
  return running;
}

export async function nginxHop(ground: Ground): Promise<Target> {
  const port = await freePort();
  const { host, httpPort } = ground.backends;
  const running = await startNginx(
    ground,
    "nginx-http",
    port,
    `${host}:${httpPort}`,
    `listen 127.0.0.1:${port}; location / { proxy_pass http://to; }`,
  );
  return { host: "127.0.0.1", port, pids: [running.pid] };
}

/** Two processes with mutual TLS 1.3 and HTTP/1.1 between: nginx speaks no HTTP/2 to upstreams. It checks the DNS name only. */
export async function nginxPair(ground: Ground): Promise<Target> {
  const { host, httpPort } = ground.backends;
  const { ca, client, server } = ground.certificates;
  const [outPort, inPort] = [await freePort(), await freePort()];
  const inbound = `listen 127.0.0.1:${inPort} ssl; ssl_protocols TLSv1.3; ssl_certificate ${server.crt}; ssl_certificate_key ${server.key};
    ssl_client_certificate ${ca}; ssl_verify_client on; location / { proxy_pass http://to; }`;
  const receiver = await startNginx(ground, "nginx-h1-in", inPort, `${host}:${httpPort}`, inbound);
  const outbound = `listen 127.0.0.1:${outPort}; location / { proxy_pass https://to;
    proxy_ssl_certificate ${client.crt}; proxy_ssl_certificate_key ${client.key}; proxy_ssl_trusted_certificate ${ca};
    proxy_ssl_verify on; proxy_ssl_name ${SERVER_NAME}; proxy_ssl_server_name on; proxy_ssl_protocols TLSv1.3; }`;
  const sender = await startNginx(ground, "nginx-h1-out", outPort, `127.0.0.1:${inPort}`, outbound);
  return { host: "127.0.0.1", port: outPort, pids: [sender.pid, receiver.pid] };
}
