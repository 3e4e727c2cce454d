/**
 * Reads a TLS ClientHello far enough to know its server name and ALPN protocols (RFC 8446 §4.1.2, RFC 6066 §3,
 * RFC 7301). Nothing is believed: it only chooses between terminating a connection and passing it through.
 * The message may come in any number of segments and records.
 */

/** Bytes after which an unfinished ClientHello is refused. Node's own is 1,599 bytes. */
export const CLIENT_HELLO_BYTES_MAX = 16 * 1024;

export type Hello =
  | { readonly kind: "more" }
  /** Not a TLS handshake record: plaintext of some sort. */
  | { readonly kind: "not-tls" }
  | { readonly kind: "malformed"; readonly detail: string }
  | { readonly kind: "hello"; readonly serverName: string; readonly alpn: readonly string[] };

const MORE: Hello = { kind: "more" };
const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const ALPN_EXTENSION = 16;

/** `bytes` is everything received so far. */
export function readClientHello(bytes: Buffer): Hello {
  if (bytes.length === 0) return MORE;
  if (bytes[0] !== HANDSHAKE) return { kind: "not-tls" };
  if (bytes.length >= 2 && bytes[1] !== 3) return { kind: "not-tls" };
  const message = joinRecords(bytes);
  if ("kind" in message) return message;
  const reader = new Reader(message);
  if (reader.u8() !== CLIENT_HELLO) return malformed("the first handshake message is not a ClientHello");
  reader.u24();
  reader.skip(2 + 32);
  reader.skip(reader.u8());
  reader.skip(reader.u16());
  reader.skip(reader.u8());
  if (reader.failed) return malformed("a length runs over the end");
  return readExtensions(reader);
}

function readExtensions(reader: Reader): Hello {
  let serverName = "";
  let alpn: string[] = [];
  if (reader.left === 0) return { kind: "hello", serverName, alpn };
  const extensions = reader.slice(reader.u16());
  while (extensions.left > 0 && !extensions.failed) {
    const type = extensions.u16();
    const body = extensions.slice(extensions.u16());
    if (type === SERVER_NAME) {
      const list = body.slice(body.u16());
      while (list.left > 0 && !list.failed) {
        const nameType = list.u8();
        const name = list.text(list.u16());
        if (nameType === 0) serverName = name.toLowerCase();
      }
      if (list.failed) return malformed("the server name runs over its end");
    } else if (type === ALPN_EXTENSION) {
      const list = body.slice(body.u16());
      alpn = [];
      while (list.left > 0 && !list.failed) alpn.push(list.text(list.u8()));
      if (list.failed) return malformed("the ALPN list runs over its end");
    }
    if (body.failed) return malformed("an extension runs over its end");
  }
  return reader.failed || extensions.failed ? malformed("the extensions run over their end") : { kind: "hello", serverName, alpn };
}

function malformed(detail: string): Hello {
  return { kind: "malformed", detail };
}

/** The first handshake message, its records joined; or why it is not there. */
function joinRecords(bytes: Buffer): Buffer | Hello {
  const parts: Buffer[] = [];
  let have = 0;
  let need = -1;
  let at = 0;
  while (need < 0 || have < need) {
    if (bytes.length - at < 5) return bytes.length > CLIENT_HELLO_BYTES_MAX ? malformed("longer than 16 KiB") : MORE;
    if (bytes[at] !== HANDSHAKE || bytes[at + 1] !== 3) return malformed("another record inside the ClientHello");
    const length = bytes.readUInt16BE(at + 3);
    if (length === 0 || length > CLIENT_HELLO_BYTES_MAX) return malformed(`a record of ${length} bytes`);
    const part = bytes.subarray(at + 5, Math.min(at + 5 + length, bytes.length));
    parts.push(part);
    have += part.length;
    if (need < 0) {
      const first = parts.length === 1 ? part : Buffer.concat(parts);
      if (first.length >= 4) {
        if (first[0] !== CLIENT_HELLO) return malformed("the first handshake message is not a ClientHello");
        need = 4 + first.readUIntBE(1, 3);
        if (need > CLIENT_HELLO_BYTES_MAX) return malformed("longer than 16 KiB");
      }
    }
    if (have >= need && need >= 0) break;
    if (part.length < length) return bytes.length > CLIENT_HELLO_BYTES_MAX ? malformed("longer than 16 KiB") : MORE;
    at += 5 + length;
  }
  return Buffer.concat(parts).subarray(0, need);
}

/** Bounds-checked: reading past the end sets `failed` and yields zeroes. */
class Reader {
  failed = false;
  private at = 0;
  private readonly bytes: Buffer;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  get left(): number {
    return this.bytes.length - this.at;
  }

  private take(n: number): number {
    const from = this.at;
    if (n > this.left) {
      this.failed = true;
      this.at = this.bytes.length;
      return -1;
    }
    this.at += n;
    return from;
  }

  private uint(n: number): number {
    const from = this.take(n);
    return from < 0 ? 0 : this.bytes.readUIntBE(from, n);
  }

  u8(): number {
    return this.uint(1);
  }

  u16(): number {
    return this.uint(2);
  }

  u24(): number {
    return this.uint(3);
  }

  skip(n: number): void {
    this.take(n);
  }

  slice(n: number): Reader {
    const from = this.take(n);
    return new Reader(from < 0 ? this.bytes.subarray(0, 0) : this.bytes.subarray(from, from + n));
  }

  text(n: number): string {
    const from = this.take(n);
    return from < 0 ? "" : this.bytes.toString("latin1", from, from + n);
  }
}
