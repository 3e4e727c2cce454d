import net from "node:net";

// `node echo-program.ts HOST PORT CONNECTIONS ECHOES kept|fresh` prints {done, seconds}; exits 1 when an echo fails.
const BYTES = 100;
const [host = "", port = "", connections = "", echoes = "", kind = ""] = process.argv.slice(2);
const message = Buffer.alloc(BYTES, "weft");
let left = Number(echoes);
let running = Number(connections);
const startedMs = performance.now();

function fail(why: string): never {
  process.stderr.write(`${why}\n`);
  process.exit(1);
}

function finished(): void {
  if (--running === 0) process.stdout.write(JSON.stringify({ done: Number(echoes), seconds: (performance.now() - startedMs) / 1000 }));
}

/** One connection after another, or one for all. */
function open(): void {
  if (left <= 0) {
    finished();
    return;
  }
  left--;
  const socket = net.connect({ host, port: Number(port), noDelay: true });
  let missing = BYTES;
  let over = false;
  socket.once("connect", () => socket.write(message));
  socket.on("data", (chunk: Buffer) => {
    missing -= chunk.length;
    if (missing < 0) fail("more bytes came back than were sent");
    if (missing > 0) return;
    if (kind === "kept" && left > 0) {
      left--;
      missing = BYTES;
      socket.write(message);
      return;
    }
    over = true;
    socket.end();
  });
  socket.on("error", (error) => fail(error.message));
  socket.on("close", () => {
    if (!over) fail("the connection was closed before its echo was back");
    if (kind === "kept") finished();
    else open();
  });
}

for (let i = 0; i < Number(connections); i++) open();
