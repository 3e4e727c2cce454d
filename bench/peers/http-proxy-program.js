// The baseline: `node http-proxy-program.js PORT HOST HOST_PORT`, http-proxy with connections kept alive.
import http from "node:http";
import httpProxy from "http-proxy";

const [port, host, hostPort] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true, maxSockets: 256 });
const proxy = httpProxy.createProxyServer({ target: { host, port: Number(hostPort) }, agent });
proxy.on("error", (_error, _request, response) => response.destroy());
http.createServer((request, response) => proxy.web(request, response)).listen({ host: "127.0.0.1", port: Number(port), backlog: 1024 });
