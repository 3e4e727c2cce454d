import assert from "node:assert/strict";
import { METHODS } from "node:http";
import { EVENT, RequestDecoder, ResponseDecoder } from "./decoder.ts";
import { REQUESTS, RESPONSES } from "./testdata/messages.ts";
import { mutate, seeded } from "./testdata/mutate.ts";
import { nodeSees, type NodeSaw } from "./testdata/node-parser.ts";
import { latin1, playRequest } from "./testdata/play.ts";

const MUTANTS_EACH = 50_000;
const NODE_METHODS = new Set(METHODS);

interface Accepted {
  /** Bytes up to the end of the last event but ERROR. */
  bytes: number;
  messages: number;
  body: string;
  methods: string[];
  interims: number;
  eof: boolean;
}

/** What our decoder accepts of `wire`, cut once, at `cut`. */
function accepts(decoder: RequestDecoder | ResponseDecoder, wire: Buffer, cut: number): Accepted {
  const seen: Accepted = { bytes: 0, messages: 0, body: "", methods: [], interims: 0, eof: false };
  for (const piece of [wire.subarray(0, cut), wire.subarray(cut), null]) {
    if (piece === null) decoder.eof();
    else decoder.push(piece);
    const pushed = piece === null || piece.byteOffset + piece.length === wire.byteOffset + wire.length ? wire.length : cut;
    for (let event = decoder.next(); event !== EVENT.NEED; event = decoder.next()) {
      if (event === EVENT.ERROR) return seen;
      if (event === EVENT.HEAD && "method" in decoder.head) seen.methods.push(decoder.head.method);
      if (event === EVENT.DATA) seen.body += decoder.data.toString("latin1");
      const whole = event === EVENT.INTERIM || event === EVENT.SWITCH || event === EVENT.END || event === EVENT.TRAILERS || decoder.end;
      if (whole) seen.messages++;
      seen.bytes = pushed - decoder.buffered;
      seen.eof = piece === null;
      if (event === EVENT.INTERIM) seen.interims++;
      // What follows is another protocol's, if the shell agrees to the upgrade.
      if (whole && decoder.upgrade !== "") return seen;
    }
  }
  return seen;
}

/**
 * RFC 9110 §9.1 and §16.1.1: methods are an open registry, and any token is one. Node knows a closed list
 * and refuses the rest; a proxy that did so would break WebDAV's and everybody's own.
 */
function isUnknownMethod(saw: NodeSaw, seen: Accepted): boolean {
  return saw.refused === "HPE_INVALID_METHOD" && seen.methods.some((method) => !NODE_METHODS.has(method));
}

/**
 * llhttp takes the first octets of these to be another protocol's: RTSP's and ICY's start lines, and "PRI",
 * which it wants to be HTTP/2's. By RFC 9110 §9.1 they are methods like any other.
 */
function isOtherProtocol(saw: NodeSaw, seen: Accepted): boolean {
  return saw.refused === "HPE_INVALID_CONSTANT" && seen.methods.length > 0;
}

/**
 * RFC 9112 §9.6: after "Connection: close" a client reads on to the final response, so an interim response
 * that says it, or is of HTTP/1.0, does not end the connection at once.
 */
function isInterimClose(saw: NodeSaw, seen: Accepted): boolean {
  return saw.refused === "HPE_CLOSED_CONNECTION" && saw.messages <= seen.interims;
}

function difference(saw: NodeSaw, seen: Accepted): string {
  if (isUnknownMethod(saw, seen) || isOtherProtocol(saw, seen) || isInterimClose(saw, seen)) return "";
  if (saw.refused !== "") return `Node refuses what we accept: ${saw.refused}`;
  if (saw.messages !== seen.messages) return `Node sees ${saw.messages} messages, we ${seen.messages}`;
  return saw.body === seen.body ? "" : "bodies differ";
}

describe("a mutated request", () => {
  it(`never makes the decoder throw or accept what Node refuses or reads otherwise (${MUTANTS_EACH} mutants)`, () => {
    const random = seeded(20_260_911);
    let accepted = 0;
    for (let i = 0; i < MUTANTS_EACH; i++) {
      const wire = latin1(mutate(REQUESTS[i % REQUESTS.length]![1], random));
      const seen = accepts(new RequestDecoder(), wire, Math.floor(random() * wire.length));
      if (seen.bytes === 0) continue;
      accepted += seen.messages;
      const wrong = difference(nodeSees("request", wire.subarray(0, seen.bytes)), seen);
      if (wrong !== "") assert.fail(`mutant ${i}: ${wrong}: ${JSON.stringify(wire.toString("latin1"))} ${JSON.stringify(seen)}`);
    }
    assert.ok(accepted > MUTANTS_EACH / 20, `only ${accepted} accepted: the mutants test too little`);
  });
});

describe("a mutated response", () => {
  it(`never makes the decoder throw or accept what Node refuses or reads otherwise (${MUTANTS_EACH} mutants)`, () => {
    const random = seeded(20_260_912);
    let accepted = 0;
    for (let i = 0; i < MUTANTS_EACH; i++) {
      const [, method, mayUpgrade, text] = RESPONSES[i % RESPONSES.length]!;
      const wire = latin1(mutate(text, random));
      const decoder = new ResponseDecoder();
      decoder.expect(method, mayUpgrade);
      const seen = accepts(decoder, wire, Math.floor(random() * wire.length));
      if (seen.bytes === 0) continue;
      accepted += seen.messages;
      const wrong = difference(nodeSees("response", wire.subarray(0, seen.bytes), method === "HEAD", seen.eof), seen);
      if (wrong !== "") assert.fail(`mutant ${i}: ${wrong}: ${JSON.stringify(wire.toString("latin1"))} ${JSON.stringify(seen)}`);
    }
    assert.ok(accepted > MUTANTS_EACH / 20, `only ${accepted} accepted: the mutants test too little`);
  });
});

describe("a method that Node does not know", () => {
  it("passes, because any token is a method (RFC 9110 §9.1)", () => {
    assert.equal(playRequest("BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n")[0]?.["method"], "BREW");
  });
});
