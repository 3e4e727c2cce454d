/**
 * Reads DER (X.690) without interpreting it: definite lengths in their shortest form, low tag numbers,
 * nothing after the end. Enough for certificates; anything else throws `DerError`.
 */
export class DerError extends Error {
  override readonly name = "DerError";
}

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** One element: `value` is its content, `whole` tag and length too. Both are views of the input. */
export interface Tlv {
  readonly tag: number;
  readonly value: Uint8Array;
  readonly whole: Uint8Array;
}

/** The elements that stand one after the other in `input`. */
export function readAll(input: Uint8Array): Tlv[] {
  const out: Tlv[] = [];
  for (let at = 0; at < input.length; ) {
    const element = readAt(input, at);
    out.push(element);
    at += element.whole.length;
  }
  return out;
}

/** The one element that `input` consists of. */
export function readOne(input: Uint8Array, tag: number): Tlv {
  const element = readAt(input, 0);
  if (element.whole.length !== input.length) throw new DerError("bytes follow the end");
  return expectTag(element, tag);
}

export function expectTag(element: Tlv | undefined, tag: number): Tlv {
  if (element === undefined) throw new DerError(`tag ${hexByte(tag)} is missing`);
  if (element.tag !== tag) throw new DerError(`tag ${hexByte(tag)} expected, found ${hexByte(element.tag)}`);
  return element;
}

/** Dotted form. Arcs above 2^32 are refused: none that we know has one. */
export function oidText(value: Uint8Array): string {
  const arcs: number[] = [];
  let arc = 0;
  let open = false;
  for (const byte of value) {
    if (!open && byte === 0x80) throw new DerError("object identifier with a padded arc");
    arc = arc * 128 + (byte & 0x7f);
    if (arc > 0xffffffff) throw new DerError("object identifier with too large an arc");
    open = (byte & 0x80) !== 0;
    if (open) continue;
    if (arcs.length === 0) {
      const first = Math.min(2, Math.floor(arc / 40));
      arcs.push(first, arc - first * 40);
    } else arcs.push(arc);
    arc = 0;
  }
  if (open || arcs.length === 0) throw new DerError("object identifier is cut off");
  return arcs.join(".");
}

/** UTCTime and GeneralizedTime in the only forms RFC 5280 section 4.1.2.5 allows. Milliseconds since the epoch. */
export function timeMs(element: Tlv | undefined): number {
  if (element === undefined) throw new DerError("a time is missing");
  const text = Buffer.from(element.value).toString("latin1");
  const form =
    element.tag === TAG.utcTime ? /^(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/ : /^(\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/;
  const match = element.tag === TAG.utcTime || element.tag === TAG.generalizedTime ? form.exec(text) : null;
  if (match === null) throw new DerError("a time is not in the form of RFC 5280");
  const [year, month, day, hour, minute, second] = match.slice(1).map(Number) as [number, number, number, number, number, number];
  // RFC 5280: two digits from 50 on mean 19xx.
  const fullYear = element.tag === TAG.generalizedTime ? year : year >= 50 ? 1900 + year : 2000 + year;
  return Date.UTC(fullYear, month - 1, day, hour, minute, second);
}

function readAt(input: Uint8Array, at: number): Tlv {
  const tag = input[at];
  const first = input[at + 1];
  if (tag === undefined || first === undefined) throw new DerError("an element is cut off");
  if ((tag & 0x1f) === 0x1f) throw new DerError("tag numbers above 30 are not used in certificates");
  let length = first;
  let header = 2;
  if (first >= 0x80) {
    const octets = first & 0x7f;
    if (octets === 0 || octets > 3) throw new DerError("length is indefinite or too long");
    length = 0;
    for (let i = 0; i < octets; i++) {
      const octet = input[at + 2 + i];
      if (octet === undefined) throw new DerError("an element is cut off");
      length = length * 256 + octet;
    }
    if (length < 0x80 || length < 256 ** (octets - 1)) throw new DerError("length is not in its shortest form");
    header += octets;
  }
  const end = at + header + length;
  if (end > input.length) throw new DerError("an element is cut off");
  return { tag, value: input.subarray(at + header, end), whole: input.subarray(at, end) };
}

function hexByte(n: number): string {
  return `0x${n.toString(16).padStart(2, "0")}`;
}
