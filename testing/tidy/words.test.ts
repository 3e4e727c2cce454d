import assert from "node:assert/strict";
import { statSync } from "node:fs";
import path from "node:path";
import { ROOT, repositoryFiles, textOf } from "./sources.ts";
import { BANS, conditionalAssertions, offences } from "./words.ts";

/** The largest file of hand, bytes: the lock file has a quarter of it. */
const FILE_BYTES_MAX = 1024 * 1024;
/** Lines of code beyond which a file is asked whether it still holds one idea. */
const LINES_ASKED = 400;
/** Lines beyond which the answer is no. */
const LINES_MAX = 600;

const files = repositoryFiles();
const texts = new Map(files.map((file) => [file, textOf(file)]));
const written = files.filter((file) => /\.(ts|js)$/.test(file) && !/^api\/gen\/|\/testdata\//.test(file));

describe("the words of the repository", () => {
  for (const ban of BANS) {
    it(`do without ${ban.name}, because: ${ban.why}`, () => {
      assert.deepEqual(
        [...texts].flatMap(([file, text]) => offences(ban, file, text)),
        [],
      );
    });
  }

  it("assert nothing in a branch that a test can pass by", () => {
    assert.deepEqual(
      [...texts].flatMap(([file, text]) => conditionalAssertions(file, text)),
      [],
    );
  });
});

describe("the files of the repository", () => {
  it("are named after what they hold, not after being of use", () => {
    const vague = /(^|[-_.])(utils?|helpers?|common|managers?|misc|shared)([-_.]|$)/i;
    const found = files.filter((file) => file.split("/").some((part) => vague.test(part)));
    assert.deepEqual(found, [], "name it after the noun it serves");
  });

  it("are text that people write, neither binaries nor bundles", () => {
    const found = files.filter((file) => texts.get(file)!.includes("\0") || statSync(path.join(ROOT, file)).size > FILE_BYTES_MAX);
    assert.deepEqual(found, []);
  });

  it(`have at most ${LINES_MAX} lines, because a file holds one idea`, () => {
    const lengths = written.map((file) => ({ file, lines: texts.get(file)!.split("\n").length }));
    const asked = lengths.filter(({ lines }) => lines > LINES_ASKED);
    if (asked.length > 0) console.warn(`still one idea? ${asked.map(({ file, lines }) => `${file} has ${lines} lines`).join(", ")}`);
    assert.deepEqual(
      lengths.filter(({ lines }) => lines > LINES_MAX),
      [],
    );
  });
});
