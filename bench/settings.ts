import { parseArgs } from "node:util";

export interface Settings {
  /** Numbers or names of rows; null: all. */
  readonly rows: readonly string[] | null;
  readonly rounds: number;
  /** Only these peers, and nothing is written; null: all. */
  readonly peers: ReadonlySet<string> | null;
  readonly help: boolean;
}

export const USAGE = `Measures Weft beside other proxies; see bench/README.md.

  make bench [ROWS=1,4] [ROUNDS=5]
  node bench/main.ts [--rows 1,4] [--rounds 5] [--peers weft,envoy-h2]

--rows     numbers or names of rows (default: all)
--rounds   how often each peer is measured, in turn (default: 5)
--peers    only these, for a quick look: nothing is written
`;

const ROUNDS_MAX = 50;

/** Flags win over the environment variables ROWS and ROUNDS, which make passes on. A string: what is wrong. */
export function readSettings(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  known: readonly string[],
): Settings | string {
  let values: { rows?: string; rounds?: string; peers?: string; help?: boolean };
  try {
    const text = { type: "string" } as const;
    ({ values } = parseArgs({
      args: [...args],
      options: { rows: text, rounds: text, peers: text, help: { type: "boolean", short: "h" } },
    }));
  } catch (error) {
    return (error as Error).message;
  }
  const rows = list(values.rows ?? env["ROWS"]);
  const unknown = rows?.find((row) => !known.includes(row));
  if (unknown !== undefined) return `there is no row ${JSON.stringify(unknown)}; there are ${known.join(", ")}`;
  const rounds = (values.rounds ?? env["ROUNDS"] ?? "") || "5";
  if (!/^\d+$/.test(rounds) || Number(rounds) < 1 || Number(rounds) > ROUNDS_MAX)
    return `rounds must be a number from 1 to ${ROUNDS_MAX}, not ${JSON.stringify(rounds)}`;
  const peers = list(values.peers);
  return { rows, rounds: Number(rounds), peers: peers === null ? null : new Set(peers), help: values.help === true };
}

/** Null of nothing: then all are meant. */
function list(text: string | undefined): readonly string[] | null {
  const items = (text ?? "").split(",").flatMap((item) => item.trim() || []);
  return items.length === 0 ? null : items;
}
