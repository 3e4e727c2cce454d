import type { Clock } from "#api/clock.ts";

export type LogLevel = "error" | "warn" | "info" | "debug";
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

export interface Logger {
  error(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  level: LogLevel;
}

const RANK: Readonly<Record<LogLevel, number>> = { error: 0, warn: 1, info: 2, debug: 3 };

/** Longest value that one field of a log line may have; what is longer is cut, so that a peer cannot fill the disk with one line. */
const VALUE_CHARS_MAX = 1024;

/**
 * One JSON object a line: `time` (ISO 8601), `level`, `message`, then the fields. Values go through
 * JSON.stringify, so a CR or LF from a peer stays inside its string (CVE-2024-45808 was log injection
 * through SNI).
 */
export function createLogger(write: (line: string) => void, clock: Clock, level: LogLevel, bound: LogFields = {}): Logger {
  const log = (at: LogLevel, message: string, fields: LogFields): void => {
    if (RANK[at] > RANK[logger.level]) return;
    const line: Record<string, unknown> = { time: new Date(clock.wallMs()).toISOString(), level: at, message };
    for (const [name, value] of [...Object.entries(bound), ...Object.entries(fields)]) {
      if (value !== undefined)
        line[name] = typeof value === "string" && value.length > VALUE_CHARS_MAX ? `${value.slice(0, VALUE_CHARS_MAX)}…` : value;
    }
    write(`${JSON.stringify(line)}\n`);
  };
  const logger: Logger = {
    level,
    error: (m, f = {}) => log("error", m, f),
    warn: (m, f = {}) => log("warn", m, f),
    info: (m, f = {}) => log("info", m, f),
    debug: (m, f = {}) => log("debug", m, f),
  };
  return logger;
}
