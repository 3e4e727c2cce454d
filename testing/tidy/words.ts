import { blank, isTestCode, lineAt } from "./sources.ts";

/** A text that has a better replacement. */
export interface Ban {
  readonly name: string;
  readonly pattern: RegExp;
  /** What is searched: code without strings and comments, code with its strings, or all of the text. */
  readonly within: "words" | "code" | "text";
  /** Files that the rule is about. */
  readonly files: RegExp;
  /** Exceptions, each with its why beside it. */
  readonly except?: RegExp;
  readonly why: string;
  readonly instead: string;
}

const SOURCE = /\.(ts|js)$/;
const PRODUCTION = /^(?!testing\/|bench\/|examples\/|docs\/)(?!.*(\.test\.ts$|\/testdata\/|\/test-[^/]*\.ts$)).*\.ts$/;
const PURE = /^(mesh\/|proxy\/protocol\/|proxy\/resilience\/|ca\/prepare\.ts)(?!.*(\.test\.ts$|\/testdata\/)).*\.ts$|^ca\/prepare\.ts$/;
const TEST = /\.test\.ts$/;
// Programs of a mesh's user, and the load they are measured with: not part of Weft.
const FOREIGN = /^(examples|bench)\//;
/** Only these read the environment or end the process: composition roots, the command line, and scripts that are run by hand. */
const ROOTS =
  /(^|\/)main\.ts$|^cli\/|^build\.ts$|^(charts|crds|docs)\/generate\.ts$|^testing\/|^bench\/|^examples\/|^bin\/|\.test\.ts$|\/testdata\//;

export const BANS: readonly Ban[] = [
  {
    name: "Date.now()",
    pattern: /\bDate\.now\(|\bnew Date\(\s*\)/g,
    within: "words",
    files: SOURCE,
    except: new RegExp(`^runtime/clock\\.ts$|${FOREIGN.source}`),
    why: "time is an argument: a day passes in a microsecond in a test",
    instead: "clock.wallMs()",
  },
  {
    name: "performance.now()",
    pattern: /\bperformance\.now\(|\bprocess\.hrtime\b/g,
    within: "words",
    files: PRODUCTION,
    // The command line has no clock to be given; nothing there is decided by time but a second Ctrl-C.
    except: /^runtime\/clock\.ts$|^cli\//,
    why: "time is an argument",
    instead: "clock.monotonicMs()",
  },
  {
    name: "timers in production code",
    pattern: /(?<![.\w])set(Timeout|Interval)\(/g,
    within: "words",
    files: PRODUCTION,
    except: /^runtime\/clock\.ts$/,
    why: "a timer of Node's ends after 24.8 days and cannot be advanced by a test",
    instead: "clock.after()",
  },
  {
    name: "the event loop in a pure room",
    pattern: /(?<![.\w])(setImmediate|queueMicrotask)\(|\bprocess\.(nextTick|uptime|memoryUsage)\b/g,
    within: "words",
    files: PURE,
    why: "the same input must give the same output, whatever else the process does",
    instead: "a value that the shell acts upon",
  },
  {
    name: "Math.random()",
    pattern: /\bMath\.random\b/g,
    within: "words",
    files: SOURCE,
    except: new RegExp(`(^|/)main\\.ts$|^cli/|${FOREIGN.source}`),
    why: "randomness is an argument: a failure must be repeatable",
    instead: "a Random given by the caller (api/clock.ts)",
  },
  {
    name: "localeCompare",
    pattern: /\blocaleCompare\b|\btoLocale\w+\(|\bIntl\./g,
    within: "words",
    files: SOURCE,
    why: "an order must not depend on the locale of the pod",
    instead: "byteOrder (mesh/plan/order.ts), or sort() alone for texts",
  },
  {
    name: "process.env and process.exit",
    pattern: /\bprocess\.(env|exit|exitCode|argv)\b/g,
    within: "words",
    files: SOURCE,
    except: new RegExp(`${ROOTS.source}|^jest\\.config\\.js$`),
    why: "one composition root a program: elsewhere a setting is an argument",
    instead: "a parameter, filled in main.ts or cli/",
  },
  {
    name: "tests that are left out",
    pattern: /\b(it|test|describe)\s*\.\s*(only|skip|todo|failing)\b|\b(fit|fdescribe|xit|xtest|xdescribe)\s*\(/g,
    within: "words",
    files: TEST,
    why: "one that is left out fails unseen, and one that is chosen leaves all others out",
    instead: "mend it, or delete it and say why in the commit",
  },
  {
    name: "sleeps in tests",
    pattern: /\bnew Promise\b[^;]{0,80}?\bsetTimeout\(|\b(scheduler\.wait|Atomics\.wait)\(|["']node:timers\/promises["']/g,
    within: "code",
    files: TEST,
    why: "too long on a fast machine and too short on a busy one",
    instead: "a ManualClock, or waiting until something is so",
  },
  {
    name: "notes to oneself",
    // Written in halves so that this line is not one.
    pattern: new RegExp(`\\b(${["FIX", "TO", "XX", "HA"].map((half, i) => half + ["ME", "DO", "X", "CK"][i]).join("|")})\\b`, "g"),
    within: "text",
    files: /\.(ts|js|md|proto|yaml|yml|json)$|(^|\/)Makefile$/,
    except: /^package-lock\.json$/,
    why: "what is not done is said where people look for it",
    instead: "do it, or say in README.md what does not work yet",
  },
  {
    name: "paths of one machine",
    pattern: /(?<![\w.~-])\/(work|home|root|Users)\/[\w.-]/g,
    within: "text",
    files: /./,
    except: /^LICENSE$/,
    why: "nobody else has them",
    instead: "a path relative to the file, or to the repository",
  },
  {
    name: "hosts of package registries",
    pattern:
      /"resolved"\s*:\s*"http|\b(registry|npm|packages?)\.[\w-]+\.(org|com|io|net|dev)\b|\b(npmmirror|artifactory|verdaccio|jfrog)\b/g,
    within: "text",
    files: /./,
    // The list of these words.
    except: /^testing\/tidy\/words\.ts$/,
    why: "which registry is used is a setting of the machine",
    instead: "npm's own configuration; `npm install --omit-lockfile-registry-resolved` for the lock file",
  },
  {
    name: "credentials",
    pattern: /-----BEGIN [A-Z ]*PRIVATE KEY-----\s*[A-Za-z0-9+/]{20}|\b(npm_|ghp_|github_pat_|glpat-)[A-Za-z0-9_]{20}|_authToken/g,
    within: "text",
    files: /./,
    except: /^testing\/tidy\/words\.ts$/,
    why: "a key that is committed is no secret, and scanners cannot tell a test's from yours",
    instead: "make it when the test runs",
  },
];

/** Where the text breaks the rule: "file:line: text: why; write … instead". */
export function offences(ban: Ban, file: string, source: string): string[] {
  if (!ban.files.test(file) || ban.except?.test(file) === true) return [];
  const searched = ban.within === "text" ? source : blank(source)[ban.within];
  return [...searched.matchAll(ban.pattern)].map(
    (match) => `${file}:${lineAt(source, match.index)}: ${match[0].trim().split("\n")[0]}: ${ban.why}; instead: ${ban.instead}`,
  );
}

/**
 * Assertions that may never run: in a test, inside the branch of an `if`, an `else` or a `catch`. One that depends on a
 * condition passes when the condition does not hold, which is when it would have been needed. `assert.fail` is none of
 * them: its condition is the assertion. Functions beside the tests may branch, as a parser must.
 */
export function conditionalAssertions(file: string, source: string): string[] {
  if (!isTestCode(file) || !file.endsWith(".ts")) return [];
  const { words } = blank(source);
  const found: string[] = [];
  const tests = [...words.matchAll(/(?<![.\w])(?:it|test)\b(?:\.each)?\(/g)].map((match) => {
    let end = closing(words, match.index + match[0].length - 1);
    // it.each(table)(name, test)
    if (words[end + 1] === "(") end = closing(words, end + 1);
    return { start: match.index, end };
  });
  for (const match of words.matchAll(/(?<![.\w])(if\s*\(|else\b|catch\b)/g)) {
    if (!tests.some(({ start, end }) => start < match.index && match.index < end)) continue;
    let at = match.index + match[0].length;
    if (match[0].startsWith("if")) at = closing(words, at - 1) + 1;
    else if (match[0] === "catch" && /^\s*\(/.test(words.slice(at))) at = closing(words, words.indexOf("(", at)) + 1;
    const rest = words.slice(at);
    const start = at + (rest.length - rest.trimStart().length);
    const end = words[start] === "{" ? closing(words, start) : statementEnd(words, start);
    const hit = /(?<![.\w])(expect|assert)(\.(?!fail\b)\w+)*\s*\(/.exec(words.slice(start, end));
    if (hit !== null) {
      found.push(
        `${file}:${lineAt(source, start + hit.index)}: an assertion that a condition can skip; assert the condition, or the whole value`,
      );
    }
  }
  return [...new Set(found)];
}

/** Offset of the mark that closes the one at `at`; the end where there is none. */
function closing(words: string, at: number): number {
  let depth = 0;
  for (let i = at; i < words.length; i++) {
    if ("([{".includes(words[i]!)) depth++;
    else if (")]}".includes(words[i]!) && --depth === 0) return i;
  }
  return words.length;
}

function statementEnd(words: string, at: number): number {
  let depth = 0;
  for (let i = at; i < words.length; i++) {
    if ("([{".includes(words[i]!)) depth++;
    else if (")]}".includes(words[i]!) && --depth < 0) return i;
    else if (words[i] === ";" && depth === 0) return i;
  }
  return words.length;
}
