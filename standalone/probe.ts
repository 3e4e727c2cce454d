import http from "node:http";
import net from "node:net";
import type { Clock } from "#api/clock.ts";

/** Waits between tries until the first success, milliseconds: doubled from the first to the last. */
const EAGER_FIRST_MS = 20;
const EAGER_LAST_MS = 250;
/** Wait between tries once it is well, milliseconds. */
const STEADY_MS = 5000;
/** So many failures in a row turn well into unwell: one slow answer on a busy machine does not. */
const FAILURES_MAX = 2;
/** Longest single try, milliseconds. */
const TRY_MS = 3000;

/** Asks again and again whether something is well and tells of each change. */
export class Probe {
  private cancel: (() => void) | null = null;
  private generation = 0;
  private delayMs = EAGER_FIRST_MS;
  private failures = 0;
  private readonly check: () => Promise<boolean>;
  private readonly clock: Clock;
  private readonly onChange: (well: boolean) => void;
  well = false;

  constructor(check: () => Promise<boolean>, clock: Clock, onChange: (well: boolean) => void) {
    this.check = check;
    this.clock = clock;
    this.onChange = onChange;
  }

  /** Begins anew: unwell until the first success. */
  restart(): void {
    this.stop();
    this.delayMs = EAGER_FIRST_MS;
    void this.turn(this.generation);
  }

  stop(): void {
    this.generation++;
    this.cancel?.();
    this.cancel = null;
    this.failures = 0;
    this.set(false);
  }

  private async turn(generation: number): Promise<void> {
    const ok = await this.check().catch(() => false);
    if (generation !== this.generation) return;
    this.failures = ok ? 0 : this.failures + 1;
    if (ok) this.set(true);
    else if (this.well && this.failures >= FAILURES_MAX) {
      this.delayMs = EAGER_FIRST_MS;
      this.set(false);
    }
    const wait = this.well && ok ? STEADY_MS : this.delayMs;
    if (!ok) this.delayMs = Math.min(EAGER_LAST_MS, this.delayMs * 2);
    if (generation === this.generation) this.cancel = this.clock.after(wait, () => void this.turn(generation));
  }

  private set(well: boolean): void {
    if (this.well === well) return;
    this.well = well;
    this.onChange(well);
  }
}

/** True when the port accepts a connection. */
export function accepts(address: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ host: address, port });
    socket.setTimeout(TRY_MS, () => socket.destroy());
    socket.once("connect", () => {
      resolve(true);
      socket.destroy();
    });
    socket.once("error", () => resolve(false));
    socket.once("close", () => resolve(false));
  });
}

/** True when GET `path` is answered 200. */
export function answersOk(address: string, port: number, path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const request = http.get({ host: address, port, path, agent: false, timeout: TRY_MS }, (response) => {
      resolve(response.statusCode === 200);
      response.resume();
    });
    request.once("timeout", () => request.destroy());
    request.once("error", () => resolve(false));
    request.once("close", () => resolve(false));
  });
}
