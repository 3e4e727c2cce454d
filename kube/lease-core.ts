import type { Random } from "#api/clock.ts";

/** The part of a coordination.k8s.io/v1 Lease that an election reads and writes. */
export interface LeaseRecord {
  /** "" when it was given up. */
  readonly holder: string;
  readonly durationSeconds: number;
  /** RFC 3339 with microseconds. Written for people and other clients; never compared with a clock. */
  readonly acquireTime: string;
  readonly renewTime: string;
  readonly transitions: number;
}

/** A Lease as it is stored; null: there is none. */
export type Stored = { readonly record: LeaseRecord; readonly resourceVersion: string } | null;

export interface ElectionTimes {
  /** Others may take the lease when they saw it unchanged for so long. */
  readonly leaseMs: number;
  /** The holder stops leading when its last renewal was *begun* so long ago. Must be well below leaseMs. */
  readonly renewDeadlineMs: number;
  /** Between two attempts. */
  readonly retryMs: number;
}

/** client-go's defaults. */
export const ELECTION_TIMES: ElectionTimes = { leaseMs: 15_000, renewDeadlineMs: 10_000, retryMs: 2000 };

/** What to do after the lease was read. */
export type Step =
  | { readonly do: "create"; readonly record: LeaseRecord }
  | { readonly do: "update"; readonly record: LeaseRecord; readonly resourceVersion: string }
  | { readonly do: "wait" };

/**
 * One candidate's view of an election. Pure: all times but the ones that are written for people are monotonic and its
 * own, so no clock of another machine counts, nor a wall clock that jumps.
 *
 * Why never two lead. A holder leads until `renewDeadlineMs` after the moment at which it *began* its last renewal that
 * the server confirmed. Another takes over only when it saw the same record for the `durationSeconds` that the record
 * names, and it saw that record no sooner than the renewal was stored, which is after it was begun. So with clocks of equal
 * pace there are leaseMs − renewDeadlineMs (5 s) between them; they could overlap only where one machine's monotonic
 * clock runs more than leaseMs / renewDeadlineMs (1.5) times as fast as the other's. A process that was paused finds
 * its time over when it asks `leads`, however late its timers are. What was begun while leading and is still under
 * way when the time is over is bounded by its own request's time: writers must ask `leads` before each write.
 */
export class ElectionCore {
  readonly #identity: string;
  readonly #times: ElectionTimes;
  readonly #random: Random;
  #seen: { readonly resourceVersion: string; readonly sinceMs: number } | null = null;
  #leadsUntilMs = Number.NEGATIVE_INFINITY;

  constructor(identity: string, times: ElectionTimes, random: Random) {
    if (times.renewDeadlineMs >= times.leaseMs) throw new Error("a holder must stop before another may take the lease");
    this.#identity = identity;
    this.#times = times;
    this.#random = random;
  }

  leads(nowMs: number): boolean {
    return nowMs < this.#leadsUntilMs;
  }

  /** Milliseconds until `leads` turns false by itself; 0 when it is false. */
  leadsForMs(nowMs: number): number {
    return Math.max(0, this.#leadsUntilMs - nowMs);
  }

  /** The lease as it was just read. `wallMs` is only written, never compared. */
  observed(stored: Stored, nowMs: number, wallMs: number): Step {
    if (stored === null) {
      this.#seen = null;
      return { do: "create", record: this.#record(wallMs, null) };
    }
    const { record, resourceVersion } = stored;
    if (this.#seen?.resourceVersion !== resourceVersion) this.#seen = { resourceVersion, sinceMs: nowMs };
    const ours = record.holder === this.#identity;
    const unchangedMs = nowMs - this.#seen.sinceMs;
    const free = record.holder === "" || unchangedMs >= Math.max(record.durationSeconds, 1) * 1000;
    // Ours from before a restart, or from an update whose answer was lost: as good as free.
    if (ours || free) return { do: "update", record: this.#record(wallMs, record), resourceVersion };
    this.#leadsUntilMs = Number.NEGATIVE_INFINITY;
    return { do: "wait" };
  }

  /** The server confirmed what `observed` asked for. `begunMs`: when that request was begun. */
  written(resourceVersion: string, begunMs: number): void {
    this.#seen = { resourceVersion, sinceMs: begunMs };
    this.#leadsUntilMs = begunMs + this.#times.renewDeadlineMs;
  }

  /** Stops leading at once. The record that gives the lease up, to be written if `resourceVersion` still holds; null: there is nothing to give up. */
  release(nowMs: number, wallMs: number): { readonly record: LeaseRecord; readonly resourceVersion: string } | null {
    const led = this.leads(nowMs);
    this.#leadsUntilMs = Number.NEGATIVE_INFINITY;
    if (!led || this.#seen === null) return null;
    const time = stamp(wallMs);
    const record = { holder: "", durationSeconds: 1, acquireTime: time, renewTime: time, transitions: this.#transitions };
    return { record, resourceVersion: this.#seen.resourceVersion };
  }

  /** Until the next attempt: with jitter, so that candidates do not move in step. */
  retryInMs(): number {
    return this.#times.retryMs * (1 + 0.2 * this.#random());
  }

  #transitions = 0;

  #record(wallMs: number, before: LeaseRecord | null): LeaseRecord {
    const again = before?.holder === this.#identity;
    this.#transitions = before === null ? 0 : before.transitions + (again ? 0 : 1);
    const now = stamp(wallMs);
    return {
      holder: this.#identity,
      durationSeconds: Math.ceil(this.#times.leaseMs / 1000),
      acquireTime: again ? before.acquireTime : now,
      renewTime: now,
      transitions: this.#transitions,
    };
  }
}

/** meta/v1 MicroTime. */
function stamp(wallMs: number): string {
  return new Date(wallMs).toISOString().replace("Z", "000Z");
}
