import { crc32 } from "node:zlib";
import { fromBinary } from "@bufbuild/protobuf";
import { type Document, DocumentSchema } from "#api/gen/weft/discovery/v1/discovery_pb.ts";

/** The version of the format is part of it: a proxy of another release starts without rather than misread it. */
const MAGIC = Buffer.from("weft-last-good-v1\n");
const HEAD_BYTES = MAGIC.length + 4;
/** Bound of the file; 1000 Services with 10 endpoints each are about 2 MiB. */
export const LAST_GOOD_BYTES_MAX = 64 * 1024 * 1024;

/**
 * The last-good documents as a file: magic, CRC-32 of the rest, then each document behind its length (32 bits,
 * big endian). What would not fit is left out from the end.
 */
export function encodeLastGood(documents: readonly Uint8Array[]): Buffer[] {
  const parts: Buffer[] = [];
  let bytes = HEAD_BYTES;
  let checksum = 0;
  for (const document of documents) {
    bytes += 4 + document.length;
    if (bytes > LAST_GOOD_BYTES_MAX) break;
    const length = Buffer.alloc(4);
    length.writeUInt32BE(document.length);
    checksum = crc32(document, crc32(length, checksum));
    parts.push(length, Buffer.from(document.buffer, document.byteOffset, document.length));
  }
  const head = Buffer.alloc(HEAD_BYTES);
  MAGIC.copy(head);
  head.writeUInt32BE(checksum, MAGIC.length);
  return [head, ...parts];
}

/** The documents of a file; none when a bit of it is wrong. Never throws. */
export function decodeLastGood(content: Buffer): Document[] {
  if (content.length < HEAD_BYTES || !content.subarray(0, MAGIC.length).equals(MAGIC)) return [];
  if (crc32(content.subarray(HEAD_BYTES)) !== content.readUInt32BE(MAGIC.length)) return [];
  const documents: Document[] = [];
  try {
    for (let at = HEAD_BYTES; at < content.length; ) {
      const end = at + 4 + content.readUInt32BE(at);
      if (end > content.length) return [];
      documents.push(fromBinary(DocumentSchema, content.subarray(at + 4, end)));
      at = end;
    }
  } catch {
    return [];
  }
  return documents;
}
