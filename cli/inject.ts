import { readFileSync } from "node:fs";
import { Command } from "commander";
import { tell } from "#mesh/plan/problem.ts";
import type { Result } from "#injector/offline.ts";
import { UserError } from "./failure.ts";
import { addSidecarOptions, sidecarSettings } from "./injector.ts";

const STDIN = 0;

export function injectCommand(): Command {
  const command = new Command("inject")
    .description("add the sidecar to manifests, as the webhook would: for who wants it in the repository")
    .argument("<file>", "YAML with pods or what makes pods; - reads stdin")
    .requiredOption("--trust-bundle <file>", "PEM roots that the pods are to trust")
    .option("--preview", "do it although the sidecar cannot start in a cluster yet");
  return addSidecarOptions(command).action(
    async (file: string, flags: Parameters<typeof sidecarSettings>[0] & { trustBundle: string; preview?: boolean }) => {
      if (flags.preview !== true)
        throw new UserError(
          "the sidecar cannot start in a cluster yet (its redirect rules, capture listeners and probe port are missing): pods injected now would never become ready. Add --preview to see what they will look like",
        );
      const { injectOffline } = await import("#injector/offline.ts");
      const { readBundle } = await import("#injector/trust-bundle.ts");
      const bundle = readBundle(read(flags.trustBundle));
      if ("problem" in bundle)
        throw new UserError(`${flags.trustBundle}: ${bundle.problem}. Take the operator's: \`weft identity\` writes it as bundle.pem`);
      const offline = injectOffline(read(file), { ...sidecarSettings(flags), trustBundlePem: bundle.pem });
      if ("problem" in offline) throw new UserError(`WEFT_BAD_YAML: ${file === "-" ? "stdin" : file}: ${offline.problem}`);
      for (const result of offline.results) for (const line of lines(result)) process.stderr.write(`${line}\n`);
      if (offline.results.some(({ outcome }) => outcome === "refused")) {
        // Nothing at all: what stands after `| kubectl apply -f -` must not apply a part.
        process.exitCode = 1;
        return;
      }
      process.stdout.write(offline.yaml);
    },
  );
}

function read(file: string): string {
  try {
    return readFileSync(file === "-" ? STDIN : file, "utf8");
  } catch (error) {
    throw new UserError(`${file} cannot be read: ${(error as Error).message}`);
  }
}

function lines({ object, outcome, reason, problems, warnings }: Result): string[] {
  const told = warnings.map((warning) => `! ${object}: ${warning}`);
  if (outcome === "injected") return [`✓ ${object} injected`, ...told];
  if (outcome === "unchanged") return [`✓ ${object} was injected already`, ...told];
  if (outcome === "skipped") return [`- ${object} skipped: ${reason}`, ...told];
  if (outcome === "refused") return [`✗ ${object} refused: ${problems[0]?.code}: ${tell(problems)}`];
  return [];
}
