import { EVENT, RequestDecoder, ResponseDecoder } from "../decoder.ts";

/** One event in a form that can be compared; adjacent DATA are joined into one. */
export type Seen = Record<string, unknown> & { event: string };

type Decoder = RequestDecoder | ResponseDecoder;
const NAMES = Object.keys(EVENT);

function note(decoder: Decoder, event: number, seen: Seen[]): void {
  const name = NAMES[event]!;
  if (event === EVENT.DATA) {
    const data = decoder.data.toString("latin1");
    const last = seen.at(-1);
    if (last?.event === name) Object.assign(last, { data: `${last["data"]}${data}`, end: decoder.end });
    else seen.push({ event: name, data, end: decoder.end });
  } else if (event === EVENT.TRAILERS) seen.push({ event: name, trailers: decoder.trailers });
  else if (event === EVENT.ERROR) seen.push({ event: name, ...decoder.error });
  else if (event === EVENT.END) seen.push({ event: name });
  else {
    const { head, end, keepAlive, upgrade } = decoder;
    const expectContinue = decoder instanceof RequestDecoder && decoder.expectContinue;
    seen.push({ event: name, ...head, fields: [...head.fields], end: event === EVENT.INTERIM || end, keepAlive, upgrade, expectContinue });
  }
}

/** Pulls until the decoder needs more or has failed. */
export function pull(decoder: Decoder, seen: Seen[]): Seen[] {
  for (;;) {
    const event = decoder.next();
    if (event === EVENT.NEED) return seen;
    note(decoder, event, seen);
    if (event === EVENT.ERROR) return seen;
  }
}

/** What `decoder` sees of `pieces`, each pulled before the next comes, and then of the end of the connection. */
export function play(decoder: Decoder, pieces: readonly Buffer[]): Seen[] {
  const seen: Seen[] = [];
  for (const piece of pieces) {
    decoder.push(piece);
    pull(decoder, seen);
    if (seen.at(-1)?.event === "ERROR") return seen;
  }
  decoder.eof();
  return pull(decoder, seen);
}

export function playRequest(...pieces: string[]): Seen[] {
  return play(new RequestDecoder(), pieces.map(latin1));
}

export function playResponse(method: string, mayUpgrade: boolean, ...pieces: string[]): Seen[] {
  const decoder = new ResponseDecoder();
  decoder.expect(method, mayUpgrade);
  return play(decoder, pieces.map(latin1));
}

export function latin1(text: string): Buffer {
  return Buffer.from(text, "latin1");
}
