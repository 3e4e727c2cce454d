import assert from "node:assert/strict";
import fc from "fast-check";
import { kindOfName } from "../names.ts";
import { HpackDecoder } from "./decoder.ts";
import { FIELD_OVERHEAD_BYTES, HpackEncoder } from "./encoder.ts";
import { huffmanDecode, huffmanDecodedMax, huffmanEncode, huffmanLength } from "./huffman.ts";
import { Cursor, INTEGER_BYTES_MAX, writeInteger } from "./integers.ts";
import { EncoderTable, NameRecord } from "./table.ts";

const LIMITS = { listBytes: 1 << 20, fields: 10_000, cookieCrumbs: false };
const hex = (text: string) => Buffer.from(text.replace(/\s/g, ""), "hex");

function decode(decoder: HpackDecoder, block: Buffer): string[] {
  const problem = decoder.decode(block, 0, block.length);
  assert.equal(problem, "", block.toString("hex"));
  const list: string[] = [];
  for (let i = 0; i < decoder.count; i++) list.push(`${decoder.names[i]}: ${decoder.values[i]}`);
  return list;
}

function readInteger(bytes: Buffer, prefix: number): number {
  const cursor = new Cursor();
  cursor.block = bytes;
  cursor.end = bytes.length;
  return cursor.integer(prefix);
}

function codeOf(octets: number[]): Buffer {
  const text = String.fromCharCode(...octets);
  const out = Buffer.alloc(huffmanLength(text) + 8);
  return out.subarray(0, huffmanEncode(text, out, 0));
}

describe("HPACK integers", () => {
  it.each([
    ["C.1.1", 10, 0x1f, "0a"],
    ["C.1.2", 1337, 0x1f, "1f9a0a"],
    ["C.1.3", 42, 0xff, "2a"],
  ])("read and write as in RFC 7541 %s", (_where, value, prefix, wire) => {
    const out = Buffer.alloc(INTEGER_BYTES_MAX);
    const end = writeInteger(out, 0, 0, prefix, value);
    assert.equal(out.toString("hex", 0, end), wire);
    assert.equal(readInteger(hex(wire), prefix), value);
  });

  it("survive a round trip for every prefix and around every power of two", () => {
    for (let bits = 4; bits <= 7; bits++) {
      for (let power = 0; power < 28; power++) {
        for (const value of [2 ** power - 1, 2 ** power, 2 ** power + 1].filter((v) => v < 2 ** 28)) {
          const out = Buffer.alloc(INTEGER_BYTES_MAX);
          const end = writeInteger(out, 0, 0, 2 ** bits - 1, value);
          assert.equal(readInteger(out.subarray(0, end), 2 ** bits - 1), value, `${value} in ${bits} bits`);
        }
      }
    }
  });

  it("are refused when cut off, beyond 28 bits, or padded without end", () => {
    for (const wire of ["1f", "1f80", "1fffffffff7f", "1fffffffffff0f", "1f8080808000", "1fe1ffff7f"])
      assert.equal(readInteger(hex(wire), 0x1f), -1, wire);
  });
});

describe("HPACK's Huffman code", () => {
  it("is appendix B's for every symbol: all 256 octets in a row, as another implementation writes them", () => {
    const wire = `ffc7fffd8fffffe2fffffe3fffffe4fffffe5fffffe6fffffe7fffffe8ffffeafffffff3fffffa7fffffabffffffdfffffebfffffecfffff
       edfffffeefffffefffffff0ffffff1ffffff2fffffffbfffffcffffffd3fffffd7fffffdbfffffdffffffe3fffffe7fffffebfffffed4fe3
       f9ffaffcabf1febfafefe7fdfd2cbb00089969b71d79fb9f7fff20ffbff3ff50ddbd7f061c58f265cd9f469d5af66dddbf871e5f9cff7ff7
       fffc3ff9ffe45fff4719242cb34e6e9d68a6a3d7dac426defe3cfaf7fffbfe7ffbffdffffffcfffe6ffff4bfff9ffffa3fffd3ffff53fffd
       5ffffb3fffeb7fffdaffffb7ffff73fffeeffffdeffffebffffbfffffd9ffffdbfffebffffe0ffffeeffffc3ffff8bffff1ffffe4fffee7f
       ffb1ffff97fffd9ffffcdffff9fffffbffffdafffeeffff4ffffb7fffee7fffe8ffffd3fffdeffffd5fffeeffffbdffffe1fffdfffff7fff
       ff5ffffecffff07fff87fffe0ffff17fffedffff87ffff77fffeffffeaffff8bfffe3ffff93ffff87fffcbffff37ffff1fffff83ffffe1ff
       febfffe3ffff3fffff2ffffa3ffffd9fffff17ffffc7fffff27ffffdefffffbffffff2fffff8fffffb7fff97fff8fffffe6fffffc1fffff8
       7ffffe7fffffc5ffffe5fffe4ffff2fffffd1fffff4ffffffefffffe3fffffc9fffff97fffb3ffffcffffb7fffcdffff4ffff9ffffd1ffff
       cffffeaffffafffffddffffeffffff4fffff5fffffabffffa7ffffd7fffff9bffffecfffffb7fffff3fffffe8fffffd3fffffabfffff5fff
       ffff7ffffecfffffdbfffffbbfffff7ffffff0fffffbbf`;
    assert.equal(codeOf(Array.from({ length: 256 }, (_, i) => i)).toString("hex"), wire.replace(/\s/g, ""));
  });

  it("brings back every octet, alone and beside every other", () => {
    const out = Buffer.alloc(16);
    for (let a = 0; a < 256; a++) {
      for (let b = 0; b < 256; b++) {
        const code = codeOf([a, b]);
        const count = huffmanDecode(code, 0, code.length, out);
        assert.ok(count === 2 && out[0] === a && out[1] === b, `${a} ${b}`);
      }
    }
  });

  it("brings back any octets", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (octets) => {
        const code = codeOf([...octets]);
        const out = Buffer.alloc(huffmanDecodedMax(code.length) + 1);
        const count = huffmanDecode(code, 0, code.length, out);
        return Buffer.from(octets).equals(out.subarray(0, count));
      }),
      { numRuns: 500 },
    );
  });

  it("refuses EOS, padding of a whole octet, and padding that is not ones (RFC 7541 §5.2)", () => {
    const out = Buffer.alloc(16);
    for (const wire of ["ff", "ffffffff", "fffffffc", "00", "1fff", "18"])
      assert.equal(huffmanDecode(hex(wire), 0, wire.length / 2, out), -1, wire);
    assert.equal(huffmanDecode(hex("1f"), 0, 1, out), 1);
  });
});

describe("HPACK decoding", () => {
  it.each([
    ["C.2.1", "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", "custom-key: custom-header", 55],
    ["C.2.2", "040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path", 0],
    ["C.2.3", "1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret", 0],
    ["C.2.4", "82", ":method: GET", 0],
  ])("reads one field as in RFC 7541 %s", (_where, wire, field, tableBytes) => {
    const decoder = new HpackDecoder(LIMITS);
    assert.deepEqual(decode(decoder, hex(wire)), [field]);
    assert.equal(decoder.tableBytes, tableBytes);
  });

  const requests = [
    [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"],
    [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com", "cache-control: no-cache"],
    [":method: GET", ":scheme: https", ":path: /index.html", ":authority: www.example.com", "custom-key: custom-value"],
  ];
  const day = (second: string) => `date: Mon, 21 Oct 2013 20:13:${second} GMT`;
  const location = "location: https://www.example.com";
  const responses = [
    [":status: 302", "cache-control: private", day("21"), location],
    [":status: 307", "cache-control: private", day("21"), location],
    [
      ":status: 200",
      "cache-control: private",
      day("22"),
      location,
      "content-encoding: gzip",
      "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
    ],
  ];
  const sequences = [
    {
      where: "C.3",
      lists: requests,
      tableBytes: [57, 110, 164],
      tableMax: 4096,
      wires: [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
      ],
    },
    {
      where: "C.4",
      lists: requests,
      tableBytes: [57, 110, 164],
      tableMax: 4096,
      wires: [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
      ],
    },
    {
      where: "C.5",
      lists: responses,
      tableBytes: [222, 222, 215],
      tableMax: 256,
      wires: [
        `4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120
         474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d`,
        "4803 3330 37c1 c0bf",
        `88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738
         666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33
         3630 303b 2076 6572 7369 6f6e 3d31`,
      ],
    },
    {
      where: "C.6",
      lists: responses,
      tableBytes: [222, 222, 215],
      tableMax: 256,
      wires: [
        `4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718
         63c7 8f0b 97c8 e9ae 82ae 43d3`,
        "4883 640e ffc1 c0bf",
        `88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7
         b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07`,
      ],
    },
  ];
  it.each(sequences)("reads three messages in a row as in RFC 7541 $where", ({ lists, wires, tableBytes, tableMax }) => {
    const decoder = new HpackDecoder(LIMITS, tableMax);
    const sizes: number[] = [];
    const read = wires.map((wire) => {
      const list = decode(decoder, hex(wire));
      sizes.push(decoder.tableBytes);
      return list;
    });
    assert.deepEqual(read, lists);
    assert.deepEqual(sizes, tableBytes);
  });

  it.each([
    ["index zero", "80"],
    ["an index beyond the tables", "be"],
    ["a literal whose name's index is beyond the tables", "7f0061"],
    ["a string cut off", "400361"],
    ["a value that is not there", "4001610"],
    ["a length beyond the block", "40017f"],
    ["an integer without end", "ffffffffffffff"],
    ["a Huffman string with EOS", "4084ffffffff0161"],
    ["a table size update above ours", "3fe21f"],
    ["a table size update after a field", "8220"],
    ["three table size updates", "202020"],
  ])("refuses %s", (_what, wire) => {
    const decoder = new HpackDecoder(LIMITS);
    const block = hex(wire.length % 2 === 0 ? wire : wire.slice(0, -1));
    assert.notEqual(decoder.decode(block, 0, block.length), "");
  });

  it("keeps its table in step with the peer's after a list above the limits", () => {
    const decoder = new HpackDecoder({ listBytes: 200, fields: 3, cookieCrumbs: false });
    const many = hex("82 84 86 82 4001610162");
    assert.equal(decoder.decode(many, 0, many.length), "");
    assert.equal(decoder.overflow, true);
    assert.deepEqual(decode(decoder, hex("be")), ["a: b"]);
    assert.equal(decoder.overflow, false);
  });

  it("counts decoded octets: 4 KiB of table referenced 16,000 times is refused at once and in little time", () => {
    const decoder = new HpackDecoder({ ...LIMITS, listBytes: 80 * 1024 });
    const big = Buffer.alloc(4200, "x");
    big.set([0x40, 1, 0x61]);
    const valueAt = writeInteger(big, 3, 0, 0x7f, 4000);
    assert.equal(decoder.decode(big, 0, valueAt + 4000), "");
    const bomb = Buffer.alloc(16_000, 0xbe);
    const start = process.cpuUsage();
    assert.equal(decoder.decode(bomb, 0, bomb.length), "");
    assert.equal(decoder.overflow, true);
    assert.ok(decoder.count <= 20);
    assert.ok(process.cpuUsage(start).user < 50_000);
  });

  it("never throws, and never holds more than its table, whatever the octets", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 10 }), (blocks) => {
        const decoder = new HpackDecoder(LIMITS);
        for (const block of blocks) decoder.decode(Buffer.from(block), 0, block.length);
        return decoder.tableBytes <= 4096;
      }),
      { numRuns: 2000 },
    );
  });
});

const NAMES = ["accept", "X-Case", "content-type", "authorization", "x-request-id", "etag", "cookie", "x-a", "x-b", "date"];
const lists = fc.array(
  fc.array(
    fc.tuple(
      fc.constantFrom(...NAMES),
      fc.oneof(
        fc.constantFrom("", "1", "gzip, deflate", "same"),
        fc.string({ unit: fc.integer({ min: 0x21, max: 0xff }).map((c) => String.fromCharCode(c)), maxLength: 600 }),
      ),
    ),
    {
      maxLength: 12,
    },
  ),
  { maxLength: 30 },
);

function encode(encoder: HpackEncoder, list: readonly (readonly [string, string])[]): Buffer {
  const room = list.reduce((sum, [name, value]) => sum + name.length + value.length + FIELD_OVERHEAD_BYTES, 10);
  const out = Buffer.alloc(room);
  let at = encoder.begin(out, 0);
  for (const [name, value] of list) at = encoder.field(out, at, encoder.record(name), value);
  assert.ok(at <= room, "a block outgrew its bound");
  return out.subarray(0, at);
}

describe("HPACK encoding", () => {
  it.each([{ huffman: false }, { huffman: true }])(
    "is read back, message after message, with both tables alike ($huffman)",
    ({ huffman }) => {
      fc.assert(
        fc.property(lists, fc.array(fc.integer({ min: 0, max: 5000 }), { maxLength: 30 }), (messages, sizes) => {
          const encoder = new HpackEncoder({ huffman, lowerCase: false });
          const decoder = new HpackDecoder(LIMITS);
          messages.forEach((list, i) => {
            if (sizes[i] !== undefined) encoder.setTableSize(sizes[i]);
            const expected = list.map(([name, value]) => `${name}: ${value}`);
            assert.deepEqual(decode(decoder, encode(encoder, list)), expected);
            assert.equal(encoder.tableBytes, decoder.tableBytes);
            assert.ok(encoder.tableBytes <= Math.min(4096, sizes[i] ?? 4096));
          });
        }),
        { numRuns: 300 },
      );
    },
  );

  it.each(["authorization", "cookie", "set-cookie", "proxy-authorization", "Authorization", "Set-Cookie"])(
    "sends %s as a literal that is never indexed",
    (name) => {
      const encoder = new HpackEncoder({ huffman: false, lowerCase: false });
      const firsts = [1, 2, 3, 4].map(() => encode(encoder, [[name, "s3cret"]])[0]! & 0xf0);
      assert.deepEqual(firsts, [0x10, 0x10, 0x10, 0x10]);
      assert.equal(encoder.tableBytes, 0);
    },
  );

  it("takes a value that comes back into the table, and one octet carries it from then on", () => {
    const encoder = new HpackEncoder({ huffman: false, lowerCase: false });
    const sizes = [1, 2, 3].map(() => encode(encoder, [["user-agent", "curl/8.5.0"]]).length);
    assert.deepEqual(sizes, [13, 12, 1]);
  });

  it("keeps what is stable in the table while paths, dates, lengths and ids change", () => {
    const encoder = new HpackEncoder({ huffman: false, lowerCase: false });
    const stable: [string, string][] = [":authority", "user-agent", "accept", "X-Forwarded-For", "x-env", "Content-Type"].map((n) => [
      n,
      `value of ${n}`,
    ]);
    const sizes: number[] = [];
    for (let i = 0; i < 5000; i++) {
      const changing = [":path", "date", "content-length", "traceparent", "x-request-id", "etag"].map((n): [string, string] => [
        n,
        `/${n}/${i}`,
      ]);
      const before = encode(encoder, stable).length;
      encode(encoder, changing);
      sizes.push(before);
    }
    // One octet each, but for the rare moment when a name's own entry has pushed the oldest out.
    assert.ok(sizes.slice(3).filter((size) => size === stable.length).length > 4900);
  });

  it("remembers no more than a bounded number of names", () => {
    const encoder = new HpackEncoder({ huffman: false, lowerCase: false });
    for (let i = 0; i < 20_000; i++) encode(encoder, [[`x-${i}`, "v"]]);
    const names = (encoder as unknown as { names: Map<string, unknown> }).names;
    assert.ok(names.size <= 256);
  });

  it("sends names in lower case where the dialect asks for it", () => {
    const encoder = new HpackEncoder({ huffman: true, lowerCase: true });
    assert.deepEqual(decode(new HpackDecoder(LIMITS), encode(encoder, [["X-Mixed-Case", "Kept"]])), ["x-mixed-case: Kept"]);
  });

  it("announces the smallest and the last table size when the peer changed it twice between messages (RFC 7541 §4.2)", () => {
    const encoder = new HpackEncoder({ huffman: false, lowerCase: false });
    encoder.setTableSize(0);
    encoder.setTableSize(1000);
    const out = Buffer.alloc(10);
    assert.equal(out.toString("hex", 0, encoder.begin(out, 0)), "203fc907");
    assert.equal(encoder.begin(out, 0), 0);
  });

  it("never keeps more entries than the table has slots", () => {
    const table = new EncoderTable(4096);
    const name = new NameRecord("", kindOfName("x"), 0, 0, null);
    for (let i = 0; i < 1000; i++) table.insert(name, "");
    assert.equal(table.size, 4096);
    assert.equal(table.inserted - table.oldest, 128);
  });
});
