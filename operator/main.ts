import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { PORTS } from "#api/ports.ts";
import { SystemClock } from "#runtime/clock.ts";
import { createLogger, type LogLevel } from "#runtime/logger.ts";
import { StandaloneAttestor, StandaloneSource, StandaloneStatusWriter } from "#standalone/client.ts";
import { createOperator } from "./operator.ts";

const USAGE = "usage: weft operator --standalone --state DIR --address ADDRESS [--log-level error|warn|info|debug]\n";
const LEVELS: readonly LogLevel[] = ["error", "warn", "info", "debug"];
/** Longer than all steps of a stop together; then the process ends whatever hangs. */
const STOP_MS_MAX = 10_000;

/**
 * `weft operator`, beside the runner of a standalone run: resources and tokens come over the control socket in the
 * state folder, keys lie in its `operator` folder. Resolves with the exit code: 0 after SIGTERM or SIGINT, 1 when it
 * cannot start, 2 for wrong arguments.
 */
export async function runOperator(args: readonly string[]): Promise<number> {
  const options = readArgs(args);
  if (options === null) {
    process.stderr.write(USAGE);
    return 2;
  }
  const clock = new SystemClock();
  const logger = createLogger((line) => process.stderr.write(line), clock, options.logLevel, { part: "operator" });
  const operator = createOperator({
    source: new StandaloneSource(options.state, clock),
    statusWriter: new StandaloneStatusWriter(options.state),
    attestor: new StandaloneAttestor(options.state),
    clock,
    random: Math.random,
    randomBytes,
    logger,
    stateDir: join(options.state, "operator"),
    listen: { address: options.address, grpcPort: PORTS.operatorGrpc, adminPort: PORTS.operatorAdmin },
  });
  return new Promise((resolve) => {
    const stop = (signal: string): void => {
      logger.info("stopping", { signal });
      clock.after(STOP_MS_MAX, () => resolve(0));
      void operator.stop().then(() => resolve(0));
    };
    process.once("SIGTERM", () => stop("SIGTERM"));
    process.once("SIGINT", () => stop("SIGINT"));
    operator.start().catch((error: Error) => {
      logger.error("the operator cannot start", { error: error.message });
      resolve(1);
    });
  });
}

interface OperatorArgs {
  readonly state: string;
  readonly address: string;
  readonly logLevel: LogLevel;
}

/** Null when they cannot be understood. `--listen` is another word for `--address`. */
function readArgs(args: readonly string[]): OperatorArgs | null {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        standalone: { type: "boolean" },
        state: { type: "string" },
        address: { type: "string" },
        listen: { type: "string" },
        "log-level": { type: "string" },
      },
    });
    const address = values.address ?? values.listen;
    const logLevel = LEVELS.find((level) => level === (values["log-level"] ?? "info"));
    if (values.standalone !== true || values.state === undefined || address === undefined || logLevel === undefined) return null;
    return { state: values.state, address, logLevel };
  } catch {
    return null;
  }
}
