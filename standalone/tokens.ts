import { createHash } from "node:crypto";
import type { Clock } from "#api/clock.ts";
import type { Attested } from "#api/store.ts";

/** Life of a token made for `weft identity fetch`, milliseconds: long enough to use at once, too short to keep. */
const FETCH_TOKEN_MS = 10 * 60 * 1000;
/** Most tokens of that kind at a time. */
const FETCH_TOKENS_MAX = 1000;

/** Who holds which token. Only hashes are kept, so that a look-up tells nothing of a token by its time. */
export class TokenBook {
  private readonly holders = new Map<string, { readonly who: Attested; readonly untilMs: number }>();
  private readonly clock: Clock;
  private readonly randomToken: () => string;

  constructor(clock: Clock, randomToken: () => string) {
    this.clock = clock;
    this.randomToken = randomToken;
  }

  /** A token that is good until `revokePod`. */
  forPod(who: Attested): string {
    return this.issue(who, Number.POSITIVE_INFINITY);
  }

  /** A token bound to no pod, good for ten minutes; null when too many are out. */
  forServiceAccount(namespace: string, serviceAccount: string): string | null {
    const now = this.clock.monotonicMs();
    for (const [hash, { untilMs }] of this.holders) if (untilMs <= now) this.holders.delete(hash);
    const out = [...this.holders.values()].filter((h) => h.untilMs !== Number.POSITIVE_INFINITY).length;
    return out >= FETCH_TOKENS_MAX ? null : this.issue({ namespace, serviceAccount, pod: "", podUid: "" }, now + FETCH_TOKEN_MS);
  }

  review(token: string): Attested | null {
    const found = this.holders.get(hashOf(token));
    return found === undefined || found.untilMs <= this.clock.monotonicMs() ? null : found.who;
  }

  revokePod(podUid: string): void {
    for (const [hash, { who }] of this.holders) if (who.podUid === podUid) this.holders.delete(hash);
  }

  private issue(who: Attested, untilMs: number): string {
    const token = this.randomToken();
    this.holders.set(hashOf(token), { who, untilMs });
    return token;
  }
}

function hashOf(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}
