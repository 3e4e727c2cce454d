/**
 * HPACK's Huffman code (RFC 7541 §5.2, appendix B).
 *
 * The code is canonical: with the symbols ordered by length and then by value, each code is the one
 * before it plus one, shifted left where the length grows. So the lengths alone say everything.
 */

/** Symbols by code length. 256 is EOS. */
const SYMBOLS: readonly (readonly [bits: number, symbols: string])[] = [
  [5, "48-50 97 99 101 105 111 115 116"],
  [6, "32 37 45-47 51-57 61 65 95 98 100 102-104 108-110 112 114 117"],
  [7, "58 66-87 89 106 107 113 118-122"],
  [8, "38 42 44 59 88 90"],
  [10, "33 34 40 41 63"],
  [11, "39 43 124"],
  [12, "35 62"],
  [13, "0 36 64 91 93 126"],
  [14, "94 125"],
  [15, "60 96 123"],
  [19, "92 195 208"],
  [20, "128 130 131 162 184 194 224 226"],
  [21, "153 161 167 172 176 177 179 209 216 217 227 229 230"],
  [22, "129 132-134 136 146 154 156 160 163 164 169 170 173 178 181 185-187 189 190 196 198 228 232 233"],
  [23, "1 135 137-141 143 147 149-152 155 157 158 165 166 168 174 175 180 182 183 188 191 197 231 239"],
  [24, "9 142 144 145 148 159 171 206 215 225 236 237"],
  [25, "199 207 234 235"],
  [26, "192 193 200-202 205 210 213 218 219 238 240 242 243 255"],
  [27, "203 204 211 212 214 221-223 241 244-248 250-254"],
  [28, "2-8 11 12 14-21 23-31 127 220 249"],
  [30, "10 13 22 256"],
];

const EOS = 256;
const codes = new Uint32Array(257);
const lengths = new Uint8Array(257);

/**
 * The decoder as a machine that eats half an octet a step. An inner node of the code's tree is a state.
 * A step's entry: next state in bits 0–8, symbol in bits 9–16, whether there is a symbol in bit 17,
 * whether the step is an error (EOS was read) in bit 18.
 */
const steps = new Uint32Array(256 * 16);
const SYMBOL = 1 << 17;
const FAILED = 1 << 18;
/** Whether a string may end in this state: at most seven bits since the last symbol, all ones (§5.2). */
const mayEnd = new Uint8Array(256);

function expand(ranges: string): number[] {
  const symbols: number[] = [];
  for (const range of ranges.split(" ")) {
    const [first, last = first] = range.split("-").map(Number);
    for (let symbol = first!; symbol <= last!; symbol++) symbols.push(symbol);
  }
  return symbols;
}

function assignCodes(): void {
  let code = 0;
  let before = 0;
  for (const [bits, ranges] of SYMBOLS) {
    for (const symbol of expand(ranges)) {
      if (before !== 0) code = (code + 1) * 2 ** (bits - before);
      before = bits;
      codes[symbol] = code;
      lengths[symbol] = bits;
    }
  }
}

function buildMachine(): void {
  // children[2 * node + bit]: an inner node's number, or -1 - symbol. Node 0 is the root.
  const children: number[] = [0, 0];
  for (let symbol = 0; symbol <= EOS; symbol++) {
    let node = 0;
    for (let bit = lengths[symbol]! - 1; bit > 0; bit--) {
      const edge = 2 * node + ((codes[symbol]! >>> bit) & 1);
      if (children[edge] === 0) {
        children[edge] = children.length / 2;
        children.push(0, 0);
      }
      node = children[edge]!;
    }
    children[2 * node + (codes[symbol]! & 1)] = -1 - symbol;
  }
  for (let state = 0; state < 256; state++) {
    for (let half = 0; half < 16; half++) steps[state * 16 + half] = step(children, state, half);
  }
  for (let ones = 0, node = 0; ones < 8; ones++, node = children[2 * node + 1]!) mayEnd[node] = 1;
}

function step(children: number[], state: number, half: number): number {
  let node = state;
  let entry = 0;
  for (let bit = 3; bit >= 0; bit--) {
    node = children[2 * node + ((half >> bit) & 1)]!;
    if (node >= 0) continue;
    const symbol = -1 - node;
    if (symbol === EOS) return FAILED;
    entry |= SYMBOL | (symbol << 9);
    node = 0;
  }
  return entry | node;
}

assignCodes();
buildMachine();

/** Longest string that encoded octets can hold: the shortest code has five bits. */
export function huffmanDecodedMax(encodedBytes: number): number {
  return Math.floor((encodedBytes * 8) / 5);
}

/** Decodes `input[start, end)` into `out` from 0; answers the count of octets, -1 for EOS or wrong padding (RFC 7541 §5.2). */
export function huffmanDecode(input: Uint8Array, start: number, end: number, out: Uint8Array): number {
  let state = 0;
  let count = 0;
  for (let i = start; i < end; i++) {
    const octet = input[i]!;
    let entry = steps[(state << 4) | (octet >> 4)]!;
    if (entry & SYMBOL) out[count++] = entry >>> 9;
    let failed = entry;
    entry = steps[((entry & 0xff) << 4) | (octet & 15)]!;
    if (entry & SYMBOL) out[count++] = entry >>> 9;
    failed |= entry;
    if (failed & FAILED) return -1;
    state = entry & 0xff;
  }
  return mayEnd[state] === 1 ? count : -1;
}

/** Octets that `text` takes when encoded. */
export function huffmanLength(text: string): number {
  let bits = 0;
  for (let i = 0; i < text.length; i++) bits += lengths[text.charCodeAt(i) & 0xff]!;
  return (bits + 7) >>> 3;
}

/** Encodes `text` at `pos` and answers where it ends. */
export function huffmanEncode(text: string, out: Uint8Array, pos: number): number {
  let at = pos;
  let held = 0;
  let heldBits = 0;
  for (let i = 0; i < text.length; i++) {
    const symbol = text.charCodeAt(i) & 0xff;
    const code = codes[symbol]!;
    let bits = lengths[symbol]!;
    if (bits > 16) {
      // In two parts: seven held bits and thirty new ones would not fit in 32.
      bits -= 16;
      held = (held << bits) | (code >>> 16);
      heldBits += bits;
      while (heldBits >= 8) out[at++] = held >>> (heldBits -= 8);
      bits = 16;
    }
    held = (held << bits) | (code & (2 ** bits - 1));
    heldBits += bits;
    while (heldBits >= 8) out[at++] = held >>> (heldBits -= 8);
  }
  if (heldBits > 0) out[at++] = (held << (8 - heldBits)) | (0xff >>> heldBits);
  return at;
}
