import assert from "node:assert/strict";
import { readSettings } from "./settings.ts";

const KNOWN = ["1", "plain-hop", "4"];

describe("the settings of a benchmark", () => {
  it("are all rows, five rounds, when nothing is said", () => {
    assert.deepEqual(readSettings([], {}, KNOWN), { rows: null, rounds: 5, peers: null, help: false });
  });

  it("come from make's variables", () => {
    assert.deepEqual(readSettings([], { ROWS: "1,4", ROUNDS: "2" }, KNOWN), { rows: ["1", "4"], rounds: 2, peers: null, help: false });
  });

  it("come from flags first, so that a quick look needs no other environment", () => {
    const settings = readSettings(["--rows", "plain-hop", "--peers", "weft, envoy-h1"], { ROWS: "4" }, KNOWN);
    assert.deepEqual(settings, { rows: ["plain-hop"], rounds: 5, peers: new Set(["weft", "envoy-h1"]), help: false });
  });

  it("take an empty variable as none, as make passes `ROWS=`", () => {
    assert.deepEqual(readSettings([], { ROWS: "", ROUNDS: "" }, KNOWN), { rows: null, rounds: 5, peers: null, help: false });
  });

  const wrong: readonly (readonly [string, readonly string[], RegExp])[] = [
    ["a row that is not there", ["--rows", "1,77"], /no row "77"; there are 1, plain-hop, 4/],
    ["no round at all", ["--rounds", "0"], /from 1 to 50, not "0"/],
    ["rounds that are no number", ["--rounds", "5x"], /not "5x"/],
    ["a flag that is not there", ["--round", "5"], /--round/],
  ];
  for (const [what, args, says] of wrong) it(`are refused with ${what}`, () => assert.match(String(readSettings(args, {}, KNOWN)), says));
});
