import { OWN_FIELD_PREFIX } from "#api/ports.ts";
import { equalsIgnoringCase } from "./octets.ts";

export { applyFilters } from "./modifiers.ts";

/**
 * Header fields as a flat list: name, value, name, value… The same type as in proxy/protocol/stream.ts,
 * which this room may not import. Names keep the octets that were received.
 */
export type Fields = string[];

/**
 * Takes out the names that belong to Weft: those that start with `weft-` in any case, and their twins
 * with "_" (CGI and its heirs read `weft_peer` as `weft-peer`). Applied to what applications send, at
 * both ends. Returns the same array when there is none.
 */
export function stripOwnFields(fields: Fields): Fields {
  for (let i = 0; i < fields.length; i += 2) {
    if (isOwnName(fields[i] as string)) return without(fields, i, isOwnName);
  }
  return fields;
}

/** What inbound tells the application about its caller; made once a connection. */
export interface Forwarded {
  /** Value of `x-forwarded-for`. */
  readonly for: string;
  /** Value of `x-forwarded-client-cert`; null when the caller has shown no SVID. */
  readonly clientCert: string | null;
}

/**
 * `peerAddress` is the IP address at the other end of the connection, as the socket gives it. `peerId` is
 * the caller's SPIFFE id that was verified, null on a connection without TLS.
 */
export function forwardedOf(ownId: string, peerId: string | null, peerAddress: string): Forwarded {
  // An IPv4 address of a dual-stack socket, and the zone of a link-local one, mean nothing to the app.
  const address = peerAddress.replace(/^::ffff:(?=[0-9.]+$)/i, "").replace(/%.*$/, "");
  return {
    for: /^[0-9A-Fa-f.:]+$/.test(address) ? address : "unknown",
    clientCert: peerId === null ? null : `By=${certValue(ownId)};URI=${certValue(peerId)}`,
  };
}

/**
 * The fields of an inbound request as the application gets them: our own names and what the client said
 * of its address or identity are taken out, what we know of it is put in. Always a new array.
 */
export function forwardedFields(fields: Fields, forwarded: Forwarded): Fields {
  const out: Fields = [];
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string;
    if (!isClaimedName(name)) out.push(name, fields[i + 1] as string);
  }
  out.push("x-forwarded-for", forwarded.for);
  if (forwarded.clientCert !== null) out.push("x-forwarded-client-cert", forwarded.clientCert);
  return out;
}

function without(fields: Fields, from: number, unwanted: (name: string) => boolean): Fields {
  const out = fields.slice(0, from);
  for (let i = from + 2; i < fields.length; i += 2) {
    const name = fields[i] as string;
    if (!unwanted(name)) out.push(name, fields[i + 1] as string);
  }
  return out;
}

/** Is it `weft-…`, in any case, "_" for "-" included? */
export function isOwnName(name: string): boolean {
  return startsWithFolded(name, OWN_FIELD_PREFIX);
}

/** Names by which this or another proxy tells an application who its caller is. */
const CLAIMS = ["x-forwarded-for", "x-forwarded-client-cert", "forwarded", "x-real-ip"];
/** Envoy's and Linkerd's own: trusted by applications that were moved here from such a mesh. */
const CLAIM_PREFIXES = ["x-envoy-", "l5d-"];

/**
 * Is it ours, or does it claim who the caller is? x-forwarded-proto, -host and -port pass: an ingress
 * says by them how it was reached, and applications that redirect to https depend on it. Their twins with
 * "_", which nobody needs and CGI mistakes for them, do not.
 */
function isClaimedName(name: string): boolean {
  switch (name.charCodeAt(0) | 0x20) {
    case 0x77: // w
      return isOwnName(name);
    case 0x78: // x
    case 0x66: // f
    case 0x6c: // l
      break;
    default:
      return false;
  }
  for (const claim of CLAIMS) if (name.length === claim.length && startsWithFolded(name, claim)) return true;
  for (const prefix of CLAIM_PREFIXES) if (startsWithFolded(name, prefix)) return true;
  return name.includes("_") && startsWithFolded(name, "x-forwarded-");
}

/** Does `name` start with `prefix` (lower-case), case ignored and "_" taken for "-"? */
function startsWithFolded(name: string, prefix: string): boolean {
  const length = prefix.length;
  if (name.length < length) return false;
  for (let i = 0; i < length; i++) {
    const code = name.charCodeAt(i);
    const wanted = prefix.charCodeAt(i);
    if (code === wanted) continue;
    if (wanted === 0x2d ? code !== 0x5f : code < 0x41 || code > 0x5a || code + 0x20 !== wanted) return false;
  }
  return true;
}

/**
 * A value of x-forwarded-client-cert in Envoy's syntax: quoted when it has one of `, ; = "`. Octets that
 * could end the field or the quotes are escaped as in a URI, whatever the check of the id already said.
 */
function certValue(value: string): string {
  let out = "";
  let quoted = false;
  for (const char of value) {
    const code = char.codePointAt(0) as number;
    if (code <= 0x20 || code >= 0x7f || char === "\\") {
      out += encodeURIComponent(code >= 0xd800 && code <= 0xdfff ? "\ufffd" : char);
      continue;
    }
    if (char === "," || char === ";" || char === "=" || char === '"') quoted = true;
    out += char === '"' ? '\\"' : char;
  }
  return quoted ? `"${out}"` : out;
}

/**
 * The value of the field `lowerName`: several of that name are joined by "," (RFC 9110 §5.3), cookies,
 * which HTTP/2 splits, by "; " (RFC 9113 §8.2.3). Null when there is none.
 */
export function fieldValue(fields: readonly string[], lowerName: string): string | null {
  let value: string | null = null;
  for (let i = 0; i < fields.length; i += 2) {
    if (!equalsIgnoringCase(fields[i] as string, lowerName)) continue;
    const next = fields[i + 1] as string;
    value = value === null ? next : value + (lowerName === "cookie" ? "; " : ",") + next;
  }
  return value;
}
