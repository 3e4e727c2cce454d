import { Command } from "commander";
import { control, messageOf } from "#standalone/client.ts";
import { UserError } from "./failure.ts";
import { findState, stateOption } from "./state.ts";

/** Longest wait for a stop: drain, 30 s of grace, and some. Milliseconds. */
const ANSWER_MS = 45_000;

const TARGETS = `
TARGET is \`operator\`, or a pod (NAME or NAMESPACE/NAME); /app or /proxy after a pod's name means that part alone.`;

export function stopCommand(): Command {
  return verb("stop", "hold the operator or a pod of a run down until `weft start`");
}

export function startCommand(): Command {
  return verb("start", "bring back what `weft stop` holds down, and wait until it is ready");
}

function verb(name: "stop" | "start", description: string): Command {
  return new Command(name)
    .description(description)
    .argument("<target>", "what")
    .option("-n, --namespace <namespace>", "namespace of the pod")
    .addOption(stateOption())
    .addHelpText("after", TARGETS)
    .action(async (target: string, flags: { state?: string; namespace?: string }) => {
      const full = flags.namespace !== undefined && target !== "operator" ? `${flags.namespace}/${target}` : target;
      const { status, body } = await control(findState(flags.state), "POST", `/v1/${name}`, { target: full }, ANSWER_MS);
      if (status !== 200) throw new UserError(messageOf(body));
      process.stderr.write(`${messageOf(body)}\n`);
    });
}
