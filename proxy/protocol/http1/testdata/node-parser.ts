import { createRequire } from "node:module";

/**
 * Node's own strict HTTP/1.1 parser (llhttp), as an oracle: what `node:http` reads with. It has no public
 * name; the tests use the module that node:http itself takes it from.
 */
interface Parser {
  [callback: number]: unknown;
  initialize(type: number, resource: object, headBytesMax: number, lenient: number): void;
  execute(bytes: Buffer): number | Error;
  finish(): undefined | Error;
  close(): void;
}
interface ParserClass {
  new (): Parser;
  readonly REQUEST: number;
  readonly RESPONSE: number;
  readonly kOnHeadersComplete: number;
  readonly kOnBody: number;
  readonly kOnMessageComplete: number;
  readonly kLenientNone: number;
}
const { HTTPParser } = createRequire(import.meta.url)("node:_http_common") as { HTTPParser: ParserClass };

export interface NodeSaw {
  /** llhttp's code, such as HPE_INVALID_METHOD; "" when it accepted all bytes. */
  refused: string;
  /** Messages that were complete. */
  messages: number;
  /** All bodies, one after the other. */
  body: string;
}

const HEAD_BYTES_MAX = 1 << 20;

/** What Node's parser sees of these bytes. `bodiless`: the response is to HEAD. */
export function nodeSees(role: "request" | "response", bytes: Buffer, bodiless = false, closed = false): NodeSaw {
  const parser = new HTTPParser();
  const saw: NodeSaw = { refused: "", messages: 0, body: "" };
  parser.initialize(role === "request" ? HTTPParser.REQUEST : HTTPParser.RESPONSE, {}, HEAD_BYTES_MAX, HTTPParser.kLenientNone);
  parser[HTTPParser.kOnHeadersComplete] = (): number => (bodiless ? 1 : 0);
  parser[HTTPParser.kOnBody] = (piece: Buffer): void => {
    saw.body += piece.toString("latin1");
  };
  parser[HTTPParser.kOnMessageComplete] = (): void => {
    saw.messages++;
  };
  const result = parser.execute(bytes);
  const end = closed && typeof result === "number" ? parser.finish() : undefined;
  const error = typeof result === "number" ? end : result;
  if (error !== undefined) saw.refused = String((error as Error & { code?: string }).code ?? error.message);
  parser.close();
  return saw;
}
