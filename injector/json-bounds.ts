/**
 * Deepest nesting of a review that is read. A pod reaches about 12, managedFields about 20; what is deeper is no object
 * of Kubernetes but an attempt to overflow the stack of whoever walks it.
 */
export const JSON_DEPTH_MAX = 100;
/**
 * Most objects, lists and separators. A review of the largest object that etcd takes has far fewer; 7 MiB of `{},` would
 * be 2.4 million objects and some 200 MB.
 */
export const JSON_PARTS_MAX = 500_000;

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;

/**
 * Which bound JSON text goes beyond, null for none: looked at byte by byte before anything parses it, with no stack of
 * its own. Says nothing about whether it is JSON.
 */
export function beyondBounds(json: Uint8Array, depthMax = JSON_DEPTH_MAX, partsMax = JSON_PARTS_MAX): string | null {
  let depth = 0;
  let parts = 0;
  let inText = false;
  for (let i = 0; i < json.length; i++) {
    const byte = json[i];
    if (inText) {
      if (byte === BACKSLASH) i++;
      else if (byte === QUOTE) inText = false;
    } else if (byte === QUOTE) inText = true;
    else if (byte === OPEN_OBJECT || byte === OPEN_LIST || byte === COMMA) {
      if (++parts > partsMax) return `of more than ${partsMax} parts`;
      if (byte !== COMMA && ++depth > depthMax) return `nested deeper than ${depthMax}`;
    } else if (byte === CLOSE_OBJECT || byte === CLOSE_LIST) depth--;
  }
  return null;
}
