import { Command, Option } from "commander";
import { stringify } from "yaml";
import type { KubeObject } from "#api/resources/kube.ts";
import { nearest } from "#api/resources/schema-walk.ts";
import { SystemClock } from "#runtime/clock.ts";
import { control, messageOf } from "#standalone/client.ts";
import type { Edge } from "#standalone/edges.ts";
import { KINDS, kindNamed } from "#standalone/kinds.ts";
import { edgeLines } from "#standalone/table.ts";
import { objectTable } from "./object-table.ts";
import { UserError } from "./failure.ts";
import { findState, stateOption } from "./state.ts";

type Format = "table" | "yaml" | "json" | "name";

interface Flags {
  readonly namespace?: string;
  readonly output: Format;
  readonly state?: string;
}

export function getCommand(): Command {
  return new Command("get")
    .description("show the objects of a run, with their status; `weft get edges` shows who calls whom")
    .argument("<kind>", "pods, services, trafficpolicies, …, or edges")
    .argument("[name]", "of one object")
    .option("-n, --namespace <namespace>", "only this one (default: all)")
    .addOption(new Option("-o, --output <format>", "how").choices(["table", "yaml", "json", "name"]).default("table"))
    .addOption(stateOption())
    .addHelpText("after", `\nKinds: ${KINDS.map((k) => k.names.join("|")).join(", ")}, edges`)
    .action(async (kind: string, name: string | undefined, flags: Flags) => {
      if (kind === "edges") return showEdges(flags);
      return showObjects(kind, name, flags);
    });
}

async function showEdges(flags: Flags): Promise<void> {
  const { body } = await control(findState(flags.state), "GET", "/v1/state");
  const { edges } = body as { edges: readonly Edge[] };
  const shown = flags.namespace === undefined ? edges : edges.filter((e) => e.from.startsWith(`${flags.namespace}/`));
  if (flags.output === "table") print(edgeLines(shown).join("\n"));
  else if (flags.output === "name") print(shown.map((e) => `${e.from} ${e.to}:${e.port}`).join("\n"));
  else print(flags.output === "json" ? JSON.stringify(shown, null, 2) : stringify(shown));
}

async function showObjects(word: string, name: string | undefined, flags: Flags): Promise<void> {
  const info = kindNamed(word);
  if (info === null) {
    const near = nearest(
      word,
      KINDS.flatMap((k) => k.names),
    );
    throw new UserError(`there is no kind ${JSON.stringify(word)}${near === null ? "; see `weft get --help`" : `; did you mean ${near}?`}`);
  }
  const query = new URLSearchParams({ kind: info.kind });
  if (name !== undefined) query.set("name", name);
  if (flags.namespace !== undefined && info.namespaced) query.set("namespace", flags.namespace);
  const { status, body } = await control(findState(flags.state), "GET", `/v1/objects?${query}`);
  if (status !== 200) throw new UserError(messageOf(body));
  const { objects } = body as { objects: readonly KubeObject[] };
  const where = flags.namespace === undefined ? "" : ` in namespace ${flags.namespace}`;
  if (name !== undefined && objects.length === 0) throw new UserError(`there is no ${info.kind} ${name}${where}`);
  if (objects.length === 0) process.stderr.write(`no ${info.names[0]}${where}\n`);
  show(objects, name !== undefined && objects.length === 1, info.names[0]!, flags.output);
}

function show(objects: readonly KubeObject[], one: boolean, plural: string, format: Format): void {
  if (format === "name") print(objects.map((o) => `${plural}/${o.metadata.name}`).join("\n"));
  else if (format === "table") print(objectTable(objects, new SystemClock().wallMs()).join("\n"));
  else {
    const value = one ? objects[0] : { apiVersion: "v1", kind: "List", items: objects };
    print(format === "json" ? JSON.stringify(value, null, 2) : stringify(value, { lineWidth: 0, aliasDuplicateObjects: false }));
  }
}

function print(text: string): void {
  if (text !== "") process.stdout.write(text.endsWith("\n") ? text : `${text}\n`);
}
