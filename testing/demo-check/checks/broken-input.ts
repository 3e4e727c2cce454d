import type { Check } from "../ledger.ts";
import { mustBeFlawless } from "../probe.ts";
import type { Run } from "../run.ts";
import { during, must, until } from "../wait.ts";
import type { World } from "../world.ts";
import { callersOfReviews, POLICIES, setSplit } from "./split.ts";

const SAID_MS = 5000;
/** An app is given ten seconds to listen. */
const NOT_LISTENING_MS = 20_000;
const EXTRA = "5-broken.yaml";
const MARK = "# here";

interface Mistake {
  readonly what: string;
  /** The file as it is written; the line with `# here` is the one that must be named. */
  readonly file: string;
  readonly text: (policies: string) => string;
  /** Said of that line: field, what is wrong, and what to do. Empty `field`: of the file as a whole. */
  readonly field: string;
  readonly says: RegExp;
  readonly remedy: RegExp;
  readonly withinMs?: number;
}

const policy = (name: string, target: string, rest: string): string =>
  `apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: ${name}, namespace: shop}
spec:
  targetRefs:
  - {group: "", kind: Service, name: ${target}} ${rest}`;

const deployment = (name: string, container: string): string =>
  `apiVersion: apps/v1
kind: Deployment
metadata: {name: ${name}, namespace: shop}
spec:
  selector: {matchLabels: {app: ${name}}}
  template:
    metadata: {labels: {app: ${name}}, annotations: {weft.dev/upstreams: ""}}
    spec:
      containers:
${container}`;

const MISTAKES: readonly Mistake[] = [
  {
    what: "malformed YAML",
    file: POLICIES,
    text: (policies) => policies.replace("    - {subset: v1, weight: 90}", `    - {subset: v1, weight: 90 ${MARK}`),
    field: "",
    says: /WEFT_BAD_YAML/,
    remedy: /stays in force/,
  },
  {
    what: "an unknown field",
    file: POLICIES,
    text: (policies) => policies.replace("    - {subset: v1, weight: 90}", `    - {subset: v1, weigth: 10} ${MARK}`),
    field: "spec.routes[1].backendRefs[0].weigth",
    says: /WEFT_UNKNOWN_FIELD/,
    remedy: /weight/,
  },
  {
    what: "a wrong type",
    file: POLICIES,
    text: (policies) => policies.replace("    - {subset: v1, weight: 90}", `    - {subset: v1, weight: ninety} ${MARK}`),
    field: "spec.routes[1].backendRefs[0].weight",
    says: /WEFT_INVALID_FIELD/,
    remedy: /\S/,
  },
  {
    what: "a subset that selects nothing",
    file: POLICIES,
    text: (policies) => policies.replace("  routes:", `  - {name: v3, selector: {matchLabels: {version: v3}}} ${MARK}\n  routes:`),
    field: "spec.subsets[2]",
    says: /WEFT_EMPTY_SUBSET[\s\S]*v3/,
    remedy: /labels|weft get/,
  },
  {
    what: "two policies for one Service",
    file: EXTRA,
    text: () => policy("reviews-too", "reviews", `${MARK}\n  routes: [{backendRefs: [{name: reviews, port: 8082}]}]\n`),
    field: "spec.targetRefs[0]",
    says: /WEFT_CONFLICTED[\s\S]*shop\/reviews\b/,
    remedy: /merge|delete|weft get/,
  },
  {
    what: "a missing command",
    file: EXTRA,
    text: () => deployment("silent", `      - {name: silent, image: example.test/silent:1, ports: [{containerPort: 9301}]} ${MARK}\n`),
    field: "spec.template.spec.containers[0].command",
    says: /WEFT_COMMAND_MISSING/,
    remedy: /command: \[/,
  },
  {
    what: "an app that does not listen",
    file: EXTRA,
    text: () =>
      deployment("mute", `      - name: mute\n        command: ["sleep", "1000"]\n        ports: [{containerPort: 9301}] ${MARK}\n`),
    field: "spec.template.spec.containers[0].ports[0]",
    says: /WEFT_APP_NOT_LISTENING[\s\S]*mute/,
    remedy: /HOST/,
    withinMs: NOT_LISTENING_MS,
  },
];

/** Makes the mistake, hears of it, and takes it back. */
async function make(run: Run, { what, file, text, field, says, remedy, withinMs = SAID_MS }: Mistake): Promise<void> {
  const good = file === EXTRA ? null : run.read(file);
  const broken = text(good ?? "");
  must(broken !== good && broken.includes(MARK), `${what}: the mistake could not be made in ${file}`);
  const line = broken.slice(0, broken.indexOf(MARK)).split("\n").length;
  const from = run.lines.length;
  run.write(file, broken);
  try {
    // YAML that is not closed is noticed where it should have been: there or on the next lines.
    const lines = field === "" ? `(?:${line}|${line + 1}|${line + 2})` : String(line);
    const place = new RegExp(`${file.replaceAll(".", "\\.")}:${lines}:\\d+: `);
    const said = await until(
      `${what}: a line with ${place}`,
      withinMs,
      () => run.lines.slice(from).find((l) => place.test(l.text)) ?? null,
    ).catch((error: Error) => {
      const heard = run.lines.slice(from).map((l) => l.text);
      throw new Error(`${error.message}; it said: ${heard.join(" | ") || "nothing"}`);
    });
    for (const [part, pattern] of [
      ["the field", field],
      ["what is wrong", says],
      ["a remedy", remedy],
    ] as const) {
      const there = typeof pattern === "string" ? said.text.includes(pattern) : pattern.test(said.text);
      must(there, `${what}: the message lacks ${part} (${pattern}): ${said.text}`);
    }
    // Long enough for it to do harm, if it does.
    await during(500);
  } finally {
    const undone = run.lines.length;
    if (good === null) run.remove(file);
    else run.write(file, good);
    await run.line(/applied/, SAID_MS, undone).catch(() => {});
  }
}

/** Sums over all callers: how many were answered by each version. */
async function split(world: World, run: Run, action: () => Promise<void>): Promise<{ readonly sent: number; readonly v2: number }> {
  const loads = await callersOfReviews(world, run, 30);
  await action();
  const summaries = await Promise.all(loads.map((load) => load.finish()));
  for (const [i, summary] of summaries.entries()) mustBeFlawless(`caller ${i} meanwhile`, summary);
  const count = (version: string): number => summaries.reduce((total, s) => total + (s.versions[version] ?? 0), 0);
  return { sent: count("v1") + count("v2"), v2: count("v2") };
}

export const brokenInput: Check = {
  name: `${MISTAKES.length} kinds of broken input: file, line, field and remedy are said, and the running mesh stays as it was`,
  body: async (world) => {
    const run = await world.shop();
    setSplit(run, 90, 10);
    await during(1000);
    const wrong: string[] = [];
    const { sent, v2 } = await split(world, run, async () => {
      for (const mistake of MISTAKES) {
        await make(run, mistake).catch((error: Error) => {
          wrong.push(error.message);
        });
      }
    });
    must(wrong.length === 0, wrong.join("\n"));
    const percent = (v2 * 100) / sent;
    // Any other split in force for one of the mistakes would move this far off.
    must(percent > 5 && percent < 15, `v2 got ${percent.toFixed(1)} % of ${sent} requests meanwhile`);
    await run.allReady(20_000);
    return `each told; ${sent} requests meanwhile, none failed, v2 got ${percent.toFixed(1)} %`;
  },
};
