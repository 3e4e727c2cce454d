/** xorshift32: the same seed, the same numbers in [0, 1). */
export function seeded(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 0x1_0000_0000;
  };
}

/** What attacks on framing are made of. */
const TOKENS = [
  ..."\r \n \r\n \r\n\r\n \0 \x0b \x0c \x7f \x80 \xff \t : , ; _ - = \" \\ # ? * / @ 0 1 5 f g G + 0x -1 0000000005 ffffffff 100000000".split(" "),
  ..."chunked identity gzip close keep-alive upgrade trailers 100-continue HTTP/1.1 HTTP/1.0 HTTP/0.9 HTTP/2.0 http:// GET CONNECT get".split(" "),
  " ",
  "Content-Length: 5\r\n",
  "Content-Length: 6\r\n",
  "Content_Length: 5\r\n",
  "Transfer-Encoding: chunked\r\n",
  "Transfer-Encoding : chunked\r\n",
  "Transfer-Encoding: chunked, identity\r\n",
  "Transfer-Encoding:\r\n chunked\r\n",
  "Connection: close\r\n",
  "Host: b\r\n",
  "Expect: 100-continue\r\n",
  "0\r\n\r\n",
  "0\n\n",
  "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
];

/** `text` after one to four changes: octets and tokens put in, taken out, replaced, doubled; ends cut off. */
export function mutate(text: string, random: () => number): string {
  const below = (n: number): number => Math.floor(random() * n);
  let out = text;
  for (let changes = 1 + below(4); changes > 0; changes--) {
    const at = below(out.length + 1);
    const to = Math.min(out.length, at + 1 + below(6));
    const token = TOKENS[below(TOKENS.length)]!;
    const kind = below(7);
    if (kind <= 1) out = out.slice(0, at) + token + out.slice(at);
    else if (kind === 2) out = out.slice(0, at) + token + out.slice(to);
    else if (kind === 3) out = out.slice(0, at) + String.fromCharCode(below(256)) + out.slice(at + 1);
    else if (kind === 4) out = out.slice(0, at) + out.slice(to);
    else if (kind === 5) out = out.slice(0, to) + out.slice(at);
    else if (below(4) === 0) out = out.slice(0, at);
    else {
      // A whole line before another: what reaches the field parser most often.
      const line = out.lastIndexOf("\r\n", at) + 2;
      if (line >= 2) out = out.slice(0, line) + token + out.slice(line);
    }
  }
  return out;
}
