/**
 * One DER element (X.690 section 8 and 10): its tag octet and where its content lies. Nothing is copied.
 */
export interface DerElement {
  readonly tag: number;
  /** First octet of the content. */
  readonly start: number;
  /** First octet behind the content. */
  readonly end: number;
}

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  sequence: 0x30,
} as const;

/**
 * The element at `at`, which must end at or before `limit`; null when the octets are not DER. Refused are
 * the indefinite form, lengths not in their shortest form, tags of more than one octet (no certificate
 * needs one) and anything that leaves its container: what two parsers could read differently is not an identity.
 */
export function readDer(der: Uint8Array, at: number, limit: number): DerElement | null {
  if (at + 2 > limit) return null;
  const tag = der[at]!;
  if ((tag & 0x1f) === 0x1f) return null;
  const first = der[at + 1]!;
  if (first < 0x80) return at + 2 + first > limit ? null : { tag, start: at + 2, end: at + 2 + first };
  const octets = first & 0x7f;
  // Three octets of length are 16 MiB: far above what `readSvid` lets in.
  if (octets === 0 || octets > 3 || at + 2 + octets > limit) return null;
  let length = 0;
  for (let i = 0; i < octets; i++) length = (length << 8) | der[at + 2 + i]!;
  if (length < 0x80 || length < 1 << (8 * (octets - 1))) return null;
  const start = at + 2 + octets;
  return start + length > limit ? null : { tag, start, end: start + length };
}

/** The elements of a constructed element, in order; null unless they fill it exactly. */
export function readChildren(der: Uint8Array, parent: DerElement): DerElement[] | null {
  const children: DerElement[] = [];
  let at = parent.start;
  while (at < parent.end) {
    const child = readDer(der, at, parent.end);
    if (child === null) return null;
    children.push(child);
    at = child.end;
  }
  return children;
}
