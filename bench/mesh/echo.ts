import net from "node:net";

/** Sends back what it receives, on HOST and PORT. */
net
  .createServer({ noDelay: true }, (socket) => {
    socket.on("error", () => socket.destroy());
    socket.pipe(socket);
  })
  .listen({ host: process.env["HOST"] ?? "127.0.0.1", port: Number(process.env["PORT"] ?? 27081), backlog: 1024 });
