import type { Clock, Random } from "#api/clock.ts";

/** A lifetime as its holder sees it, in wall milliseconds. */
export interface Validity {
  /**
   * When the certificate was issued, by our clock. Not its notBefore, which lies minutes back for the sake of
   * slow clocks: with a lifetime of 60 s, half-way between notBefore and notAfter would be past at birth.
   */
  readonly issuedAtMs: number;
  readonly notAfterMs: number;
}

/** Part of the moment of renewal by which jitter moves it, either way. */
const JITTER = 0.1;
const RETRY_FIRST_MS = 1_000;
const RETRY_MAX_MS = 30_000;
/** Without a valid SVID nothing works: waiting is measured in what a starting pod can afford. */
const RETRY_BARE_FIRST_MS = 250;
const RETRY_BARE_MAX_MS = 2_000;
/** The wall clock may jump and a timer cannot know: look at it at least this often. */
const LOOK_MS_MAX = 30_000;

/**
 * When to ask for the next SVID, in wall milliseconds: `fraction` of the lifetime after its issue, ± 10 %.
 * Half of it by default, so that an outage as long as half a lifetime is survived (SPIRE does the same;
 * cert-manager takes two thirds). `jitter`, drawn once from [0, 1): proxies started together must not return
 * together (istio/istio#52102). A lifetime that is already over gives its own start: at once.
 */
export function rotateAtMs(validity: Validity, jitter: number, fraction = 1 / 2): number {
  const lifetimeMs = Math.max(0, validity.notAfterMs - validity.issuedAtMs);
  const part = Math.min(0.95, fraction * (1 + JITTER * (2 * jitter - 1)));
  return validity.issuedAtMs + lifetimeMs * part;
}

/**
 * How long to wait after the `failures`-th failure in a row: doubling from 1 s to 30 s, never more than a
 * tenth of what is left of the SVID, so that attempts grow denser towards its end; without a valid one
 * from 250 ms to 2 s. Jitter from [0, 1) moves it between a half and the whole.
 */
export function retryDelayMs(failures: number, leftMs: number, jitter: number): number {
  const bare = leftMs <= 0;
  const first = bare ? RETRY_BARE_FIRST_MS : RETRY_FIRST_MS;
  const doubled = first * 2 ** Math.min(16, Math.max(0, failures - 1));
  const cap = bare ? RETRY_BARE_MAX_MS : Math.min(RETRY_MAX_MS, Math.max(RETRY_FIRST_MS, leftMs / 10));
  return Math.min(doubled, cap) * (0.5 + jitter / 2);
}

/** What a renewal brought: a new lifetime, and the part of it after which to renew (percent). Null: it failed. */
export type Renewed = (Validity & { readonly renewAfterPercent: number }) | null;

export interface RotationDependencies {
  readonly clock: Clock;
  readonly random: Random;
  /** Asks for a new SVID and calls `done` exactly once. Never called again before that. */
  renew(done: (outcome: Renewed) => void): void;
}

/**
 * Keeps one SVID renewed: one renewal at a time, for ever. Only looks at clocks and calls `renew`; what
 * an SVID is, is not its business.
 *
 * Renews when the wall clock has passed the moment, or when as much time has passed as should have
 * until then: a wall clock that was set back does not delay it.
 */
export class Rotation {
  private readonly clock: Clock;
  private readonly random: Random;
  private readonly renewNow: RotationDependencies["renew"];
  private cancel: () => void = () => {};
  private running = false;
  private renewing = false;
  private failures = 0;
  private notAfterMs = Number.NEGATIVE_INFINITY;
  private dueWallMs = Number.NEGATIVE_INFINITY;
  private dueMonotonicMs = Number.NEGATIVE_INFINITY;
  private lookMs = LOOK_MS_MAX;

  constructor(dependencies: RotationDependencies) {
    this.clock = dependencies.clock;
    this.random = dependencies.random;
    this.renewNow = (done) => dependencies.renew(done);
  }

  /** Begins with the SVID loaded from disk, or with null: then it renews at once. */
  start(current: Renewed): void {
    this.running = true;
    if (current !== null) this.adopt(current);
    this.look();
  }

  stop(): void {
    this.running = false;
    this.cancel();
  }

  private adopt(renewed: NonNullable<Renewed>): void {
    const wallMs = this.clock.wallMs();
    this.notAfterMs = renewed.notAfterMs;
    this.dueWallMs = rotateAtMs(renewed, this.random(), renewed.renewAfterPercent / 100);
    this.dueMonotonicMs = this.clock.monotonicMs() + (this.dueWallMs - wallMs);
    this.lookMs = Math.max(100, Math.min(LOOK_MS_MAX, (renewed.notAfterMs - renewed.issuedAtMs) / 10));
  }

  private look(): void {
    if (!this.running || this.renewing) return;
    const leftMs = Math.min(this.dueWallMs - this.clock.wallMs(), this.dueMonotonicMs - this.clock.monotonicMs());
    if (leftMs > 0) {
      this.wait(Math.min(leftMs, this.lookMs));
      return;
    }
    this.renewing = true;
    this.renewNow((outcome) => this.finished(outcome));
  }

  private finished(outcome: Renewed): void {
    if (!this.renewing) return;
    this.renewing = false;
    if (outcome !== null) this.adopt(outcome);
    // An SVID that is due for renewal at birth (our clock is ahead of the CA's) counts as a failure: the wait must grow.
    if (outcome === null || this.dueWallMs <= this.clock.wallMs()) this.failures++;
    else this.failures = 0;
    if (!this.running) return;
    if (this.failures === 0) {
      this.look();
      return;
    }
    this.wait(retryDelayMs(this.failures, this.notAfterMs - this.clock.wallMs(), this.random()));
  }

  private wait(ms: number): void {
    this.cancel();
    this.cancel = this.clock.after(ms, () => this.look());
  }
}
