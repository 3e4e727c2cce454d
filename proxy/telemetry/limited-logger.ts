import type { Clock } from "#api/clock.ts";
import type { ErrorCode } from "#api/errors.ts";
import type { LogFields, Logger } from "#runtime/logger.ts";

export interface LimitedLoggerOptions {
  /** Lines of one code in one window. */
  readonly linesMax?: number;
  readonly windowMs?: number;
}

const LINES_MAX = 5;
const WINDOW_MS = 10_000;

interface Window {
  lines: number;
  suppressed: number;
}

/**
 * Error lines at a bounded rate: at most 5 of one code in 10 s. An upstream that fails 10,000 requests a second must
 * not fill the disk, nor make logging the dearest thing we do. Lines left out are counted, and the count is
 * written when the window ends. Windows are per code, and codes are a closed set: no growth.
 */
export class LimitedLogger {
  private readonly logger: Logger;
  private readonly clock: Clock;
  private readonly linesMax: number;
  private readonly windowMs: number;
  private readonly windows = new Map<ErrorCode, Window>();

  constructor(logger: Logger, clock: Clock, options: LimitedLoggerOptions = {}) {
    this.logger = logger;
    this.clock = clock;
    this.linesMax = options.linesMax ?? LINES_MAX;
    this.windowMs = options.windowMs ?? WINDOW_MS;
  }

  error(code: ErrorCode, message: string, fields: LogFields = {}): void {
    if (this.admit(code)) this.logger.error(message, { code, ...fields });
  }

  warn(code: ErrorCode, message: string, fields: LogFields = {}): void {
    if (this.admit(code)) this.logger.warn(message, { code, ...fields });
  }

  /** True when a line of this code may be written now; else it is counted. For callers for whom making the fields is dear. */
  admit(code: ErrorCode): boolean {
    let window = this.windows.get(code);
    if (window === undefined) {
      window = { lines: 0, suppressed: 0 };
      this.windows.set(code, window);
      this.clock.after(this.windowMs, () => this.close(code));
    }
    if (window.lines >= this.linesMax) {
      window.suppressed++;
      return false;
    }
    window.lines++;
    return true;
  }

  private close(code: ErrorCode): void {
    const window = this.windows.get(code);
    this.windows.delete(code);
    if (window === undefined || window.suppressed === 0) return;
    // A line like any other: it counts in the window that it opens.
    if (this.admit(code)) this.logger.warn("further lines of this kind were left out", { code, suppressed: window.suppressed });
  }
}
