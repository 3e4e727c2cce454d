import type { Edge } from "./edges.ts";
import { type RunEvent, sentence } from "./events.ts";
import { edgeLines } from "./table.ts";

export interface Terminal {
  /** Data: tables, and events with `-o json`. */
  out(text: string): void;
  /** Progress and problems. */
  err(text: string): void;
  /** Redraw the table in place. */
  readonly live: boolean;
  /** Colour on `err` and `out`. */
  readonly colour: boolean;
  /** Characters a line; 0: unknown. */
  width(): number;
}

const CLEAR_TO_END = "\x1b[J";

/** Shows a run: sentences above, and on a terminal the table of edges below, drawn anew each second. */
export class TextOutput {
  private readonly terminal: Terminal;
  private drawn = 0;
  private table: readonly string[] = [];

  constructor(terminal: Terminal) {
    this.terminal = terminal;
  }

  event(event: RunEvent): void {
    if (event.type === "edges") {
      this.edges(event.edges);
      return;
    }
    const text = sentence(event);
    if (text === null) return;
    this.erase();
    // The one line that others wait for is data.
    const line = `${this.paint(event, text)}\n`;
    if (event.type === "first-request") this.terminal.out(line);
    else this.terminal.err(line);
    this.draw();
  }

  /** Lines that are data and not of an event, such as hints. */
  print(lines: readonly string[]): void {
    this.erase();
    this.terminal.err(`${lines.join("\n")}\n`);
    this.draw();
  }

  /** Leaves the last table on the screen. */
  end(): void {
    this.drawn = 0;
    this.table = [];
  }

  private edges(edges: readonly Edge[]): void {
    if (edges.length === 0) return;
    if (!this.terminal.live) {
      this.terminal.out(`${edgeLines(edges).join("\n")}\n`);
      return;
    }
    this.erase();
    this.table = edgeLines(edges);
    this.draw();
  }

  private erase(): void {
    if (this.drawn > 0) this.terminal.out(`\x1b[${this.drawn}A\r${CLEAR_TO_END}`);
    this.drawn = 0;
  }

  private draw(): void {
    if (!this.terminal.live || this.table.length === 0) return;
    const width = this.terminal.width();
    // A line that wraps would make the count of lines to erase wrong.
    const lines = ["", ...this.table].map((l) => (width > 0 ? l.slice(0, width - 1) : l));
    this.terminal.out(`${lines.join("\n")}\n`);
    this.drawn = lines.length;
  }

  private paint(event: RunEvent, text: string): string {
    if (!this.terminal.colour) return text;
    if (event.type === "first-request") return `\x1b[32m${text}\x1b[0m`;
    return text.startsWith("✗") ? `\x1b[31m${text}\x1b[0m` : text.startsWith("!") ? `\x1b[33m${text}\x1b[0m` : text;
  }
}

/** `-o json`: one event a line on stdout, with the moment it happened. */
export class JsonOutput {
  private readonly terminal: Terminal;
  private readonly wallMs: () => number;

  constructor(terminal: Terminal, wallMs: () => number) {
    this.terminal = terminal;
    this.wallMs = wallMs;
  }

  event(event: RunEvent): void {
    this.terminal.out(`${JSON.stringify({ time: new Date(this.wallMs()).toISOString(), ...event })}\n`);
  }

  print(): void {}

  end(): void {}
}
