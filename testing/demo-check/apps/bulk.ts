/** Sends as many bytes as it is asked for, no faster than they are taken: `GET /bytes/N` on PORT, or a line `N` on TCP_PORT. */
import http from "node:http";
import net from "node:net";
import type { Writable } from "node:stream";

const BLOCK = Buffer.alloc(64 * 1024, "weft");
const host = process.env["HOST"] ?? "0.0.0.0";

function send(out: Writable, bytes: number): void {
  let left = bytes;
  const more = (): void => {
    while (left > 0) {
      const size = Math.min(left, BLOCK.length);
      left -= size;
      if (!out.write(size === BLOCK.length ? BLOCK : BLOCK.subarray(0, size))) {
        out.once("drain", more);
        return;
      }
    }
    out.end();
  };
  more();
}

http
  .createServer((request, response) => {
    const bytes = Number(/^\/bytes\/(\d{1,12})$/.exec(request.url ?? "")?.[1] ?? "0");
    response.writeHead(200, { "content-type": "application/octet-stream", "content-length": bytes });
    send(response, bytes);
  })
  .listen(Number(process.env["PORT"] ?? 9101), host);

net
  .createServer({ allowHalfOpen: true }, (socket) => {
    let line = "";
    const read = (chunk: Buffer): void => {
      line += chunk.toString("latin1");
      if (!line.includes("\n")) return;
      socket.off("data", read);
      socket.resume();
      send(socket, Number.parseInt(line, 10));
    };
    socket.on("data", read);
    socket.on("error", () => socket.destroy());
  })
  .listen(Number(process.env["TCP_PORT"] ?? 9102), host);

process.once("SIGTERM", () => process.exit(0));
