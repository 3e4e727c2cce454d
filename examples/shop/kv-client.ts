import net from "node:net";
import { Refused } from "./service.ts";
import { addressOf } from "./upstream.ts";

/** Longest wait for an answer, milliseconds. */
const ANSWER_MS = 2000;

interface Pending {
  readonly lines: string[];
  resolve(lines: readonly string[]): void;
  reject(error: Error): void;
}

/** One connection to kv, opened when first needed and again after it was lost. Commands are answered in their order. */
export class KvClient {
  private socket: net.Socket | null = null;
  private pending: Pending[] = [];
  private rest = "";

  /** The lines of the answer. Throws `Refused` 502 when kv is not there; the command may have been executed. */
  command(line: string): Promise<readonly string[]> {
    const socket = (this.socket ??= this.connect());
    return new Promise((resolve, reject) => {
      this.pending.push({ lines: [], resolve, reject });
      socket.write(`${line}\n`);
    });
  }

  private connect(): net.Socket {
    const socket = net.connect(addressOf("kv", 7000));
    socket.setEncoding("latin1");
    socket.setNoDelay(true);
    socket.setTimeout(ANSWER_MS, () => {
      if (this.pending.length > 0) socket.destroy(new Error(`no answer within ${ANSWER_MS} ms`));
    });
    let why = "kv closed the connection";
    socket.on("data", (text) => this.receive(String(text)));
    socket.on("error", (error) => {
      why = error.message;
    });
    socket.on("close", () => {
      const lost = this.pending;
      this.socket = null;
      this.pending = [];
      this.rest = "";
      for (const { reject } of lost) reject(new Refused(502, `kv: ${why}`));
    });
    return socket;
  }

  private receive(text: string): void {
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop() ?? "";
    for (const line of lines) {
      const [first] = this.pending;
      first?.lines.push(line);
      if (line.startsWith("ITEM ")) continue;
      this.pending.shift();
      if (line.startsWith("ERROR ")) first?.reject(new Refused(500, `kv: ${line}`));
      else first?.resolve(first.lines);
    }
  }
}
