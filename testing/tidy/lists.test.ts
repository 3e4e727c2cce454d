import assert from "node:assert/strict";
import path from "node:path";
import { ERRORS } from "#api/errors.ts";
import { METRICS } from "#api/metrics.ts";
import { graphOf, reach } from "./graph.ts";
import { blank, isTestCode, repositoryFiles, textOf } from "./sources.ts";

const files = repositoryFiles();
const sources = files.filter((file) => file.endsWith(".ts"));
const production = sources.filter((file) => !isTestCode(file) && !/^(bench|examples|docs|crds|charts)\//.test(file));
const graph = graphOf(new Map(sources.map((file) => [file, textOf(file)])));

describe("the error codes", () => {
  const page = textOf("docs/troubleshooting.md");
  const sections = new Map(
    page
      .split(/^### /m)
      .slice(1)
      .map((section) => [section.split("\n", 1)[0]!.trim(), section] as const),
  );

  it("are each a heading in docs/troubleshooting.md, and each heading is a code", () => {
    assert.deepEqual([...sections.keys()].sort(), Object.keys(ERRORS).sort());
  });

  it("are each told with symptom, cause, what to do and a line to look for", () => {
    const parts = ["**Symptom.**", "**Cause.**", "**What to do.**", "```"];
    const missing = [...sections].flatMap(([code, text]) => parts.filter((part) => !text.includes(part)).map((part) => `${code}: ${part}`));
    assert.deepEqual(missing, []);
  });

  it("have an example line that carries the code, because people search for it", () => {
    const without = [...sections]
      .filter(([code, text]) => !text.split("```").some((block, i) => i % 2 === 1 && block.includes(code)))
      .map(([code]) => code);
    assert.deepEqual(without, []);
  });

  it("are each used, because a code that nothing reports is a promise not kept", () => {
    const code = production.filter((file) => file !== "api/errors.ts").map((file) => blank(textOf(file)).code);
    const unused = Object.keys(ERRORS).filter((name) => !code.some((text) => new RegExp(`\\b${name}\\b`).test(text)));
    assert.deepEqual(unused, []);
  });
});

describe("the metrics", () => {
  it("are each counted somewhere", () => {
    const code = production.filter((file) => file !== "api/metrics.ts").map((file) => blank(textOf(file)).code);
    const unused = Object.keys(METRICS).filter((name) => !code.some((text) => new RegExp(`\\b${name}\\b`).test(text)));
    assert.deepEqual(unused, []);
  });

  it("have names that say their unit, and counters end in _total", () => {
    const wrong = Object.entries(METRICS)
      .filter(
        ([name, { type }]) => (type === "counter") !== name.endsWith("_total") || (type === "histogram" && !/_(seconds|bytes)$/.test(name)),
      )
      .map(([name]) => name);
    assert.deepEqual(wrong, []);
  });
});

describe("the rooms", () => {
  const rooms = [...new Set(sources.filter((file) => file.includes("/")).map((file) => file.split("/", 1)[0]!))];

  it("each have a README that says what they may import", () => {
    const wanted = [...rooms.filter((room) => !["docs", "testing", "examples"].includes(room)), "bin", "mesh/decide", "testing/tidy"];
    const missing = wanted.filter((room) => !files.includes(`${room}/README.md`));
    assert.deepEqual(missing, []);
  });

  it("are reached by an import from a program or a test, file by file, because nobody maintains what nothing uses", () => {
    // What is started by its name: from a Makefile, a manifest, another program.
    const namers = files.filter((file) => /\.(ts|js|json|ya?ml)$|(^|\/)Makefile$|^\.ci\/run$/.test(file) && file !== "package-lock.json");
    const texts = new Map(namers.map((file) => [file, textOf(file)]));
    const named = (file: string): boolean => {
      const tail = file.split("/").slice(-2).join("/");
      const alone = new RegExp(`["'\\s/]${path.basename(file).replaceAll(".", "\\.")}\\b`);
      return [...texts].some(([namer, text]) => {
        if (namer === file) return false;
        if (text.includes(tail)) return true;
        // A manifest names a program by itself, and its folder in an annotation; a neighbour needs no folder.
        const near = /\.ya?ml$/.test(namer) || path.dirname(namer) === path.dirname(file);
        return near && alone.test(text.replace(/\bfrom "[^"]+"/g, ""));
      });
    };
    const starts = sources.filter((file) => file.endsWith(".test.ts") || named(file));
    const reached = new Set(starts.flatMap((file) => [file, ...reach(graph, file).keys()]));
    assert.deepEqual(
      sources.filter((file) => !reached.has(file) && !file.startsWith("api/gen/")),
      [],
    );
  });

  it("hold no production file that only tests use", () => {
    const programs = production.filter((file) => /^(cli\/(main|proxy-main)\.ts|build\.ts)$/.test(file));
    const reached = new Set(programs.flatMap((file) => [file, ...reach(graph, file).keys()]));
    const apart: readonly { readonly file: RegExp; readonly why: string }[] = [
      { file: /^api\/gen\//, why: "generated whole" },
      { file: /^api\/resources\/structural\.ts$/, why: "the CRDs and the page of resources are generated by it" },
      {
        file: /^mesh\/decide\/(trace|explain)\.ts$/,
        why: "the traced form that `weft explain` will show; held equal to the compiled form from the first day",
      },
      { file: /^operator\/memory-store\.ts$/, why: "the resource store of tests, kept beside the interface that it implements" },
    ];
    assert.deepEqual(
      production.filter((file) => !reached.has(file) && !apart.some((one) => one.file.test(file))),
      [],
    );
  });
});

describe("the pages", () => {
  const pages = files.filter((file) => file.endsWith(".md"));

  it("link to files and headings that exist", () => {
    const broken: string[] = [];
    for (const page of pages) {
      for (const [, link] of textOf(page)
        .replace(/```[\s\S]*?```|`[^`\n]*`/g, "")
        .matchAll(/\]\(([^)\s]+)\)/g)) {
        const [target = "", anchor] = link!.split("#");
        if (/^[a-z]+:/.test(link!)) continue;
        const file = target === "" ? page : path.posix.join(path.posix.dirname(page), target);
        const exists = files.includes(file) || files.some((other) => other.startsWith(`${file.replace(/\/$/, "")}/`));
        if (!exists) broken.push(`${page}: ${link}`);
        else if (anchor !== undefined && !anchors(textOf(file)).includes(anchor)) broken.push(`${page}: ${link}: no such heading`);
      }
    }
    assert.deepEqual(broken, []);
  });

  it("name make targets that exist", () => {
    const targets = new Set([...textOf("Makefile").matchAll(/^([a-z-]+):/gm)].map((match) => match[1]!));
    const wrong = pages.flatMap((page) =>
      [...textOf(page).matchAll(/(?:`|^\s*)(?:\w+=\S+ )*make ([a-z][a-z-]*)\b/gm)]
        .map((match) => match[1]!)
        .filter((name) => !targets.has(name))
        .map((name) => `${page}: make ${name}`),
    );
    assert.deepEqual(wrong, []);
  });

  it("name files that exist, where they put a path of the repository in code marks", () => {
    const rooms = "api|bench|bin|ca|charts|cli|crds|docs|examples|injector|mesh|operator|proxy|runtime|standalone|testing|changes";
    const path_ = new RegExp(`\`((?:${rooms})/[\\w./-]+\\.(?:ts|js|md|proto|yaml|json))\``, "g");
    const written = pages.filter((page) => !page.startsWith("changes/"));
    const missing = written.flatMap((page) =>
      [...textOf(page).matchAll(path_)]
        .map((match) => match[1]!)
        .filter((file) => !files.includes(file))
        .map((file) => `${page}: ${file}`),
    );
    assert.deepEqual(missing, []);
  });
});

/** Anchors of a page's headings, as GitHub makes them. */
function anchors(text: string): string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map((match) =>
    match[1]!
      .toLowerCase()
      .replace(/[^\w\s-]/g, "")
      .trim()
      .replace(/\s/g, "-"),
  );
}
