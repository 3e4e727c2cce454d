import net from "node:net";
import { say } from "./service.ts";

/**
 * A small key-value store on plain TCP. A command a line, in order; values are whole numbers:
 * `GET key` and `ADD key n` answer `VALUE n`, `LIST prefix` an `ITEM key n` for each and then `END`,
 * `CLEAR prefix` answers `OK`, `PING` `PONG`, anything else `ERROR why`.
 */
const LINE_BYTES_MAX = 4096;
/** Beyond it the oldest key goes. */
const KEYS_MAX = 10_000;

const values = new Map<string, number>();

function execute(line: string): string {
  const [command, key = "", amount = ""] = line.split(" ");
  switch (command) {
    case "PING":
      return "PONG";
    case "GET":
      return `VALUE ${values.get(key) ?? 0}`;
    case "ADD":
      return add(key, Number(amount));
    case "LIST":
      return [...matching(key).map(([k, n]) => `ITEM ${k} ${n}`), "END"].join("\n");
    case "CLEAR":
      for (const [k] of matching(key)) values.delete(k);
      return "OK";
    default:
      return "ERROR known are PING, GET, ADD, LIST and CLEAR";
  }
}

function add(key: string, amount: number): string {
  if (key === "" || !Number.isSafeInteger(amount)) return "ERROR write ADD key number";
  const sum = (values.get(key) ?? 0) + amount;
  values.set(key, sum);
  const [oldest] = values.keys();
  if (values.size > KEYS_MAX && oldest !== undefined) values.delete(oldest);
  return `VALUE ${sum}`;
}

function matching(prefix: string): [string, number][] {
  return [...values].filter(([key]) => key.startsWith(prefix));
}

const server = net.createServer({ allowHalfOpen: true }, (socket) => {
  let rest = "";
  socket.setEncoding("latin1");
  socket.on("data", (text) => {
    const lines = (rest + String(text)).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) socket.write(`${execute(line.trimEnd())}\n`);
    if (rest.length > LINE_BYTES_MAX) socket.end("ERROR the line is too long\n");
  });
  socket.on("end", () => socket.end());
  socket.on("error", () => socket.destroy());
});

const host = process.env["HOST"] ?? "0.0.0.0";
const port = Number(process.env["PORT"] ?? 7000);
server.listen(port, host, () => say(`listening on ${host}:${port}`));
process.once("SIGTERM", () => process.exit(0));
