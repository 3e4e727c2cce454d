import type { BudgetLimits } from "./retry.ts";

/** Length of the window, in slots of one second. */
const SLOTS = 10;
const SLOT_MS = 1000;
/** A further attempt costs so much; a request brings `percent`. Integers, so that sums stay exact. */
const COST = 100;

/** All of a budget, for `/config` and for tests. */
export interface RetryBudgetState {
  /** The second (of the caller's clock) of the newest slot. */
  readonly second: number;
  /** Balance of each second, oldest first, the newest last; in hundredths of an attempt, negative where more was spent than brought. */
  readonly balances: readonly number[];
}

/**
 * Limits further attempts to a share of the requests, so that retries cannot multiply an overload: over
 * any ten seconds, `percent` of the requests plus `minPerSecond` a second. The idea is Finagle's and
 * Linkerd's. Deposits and withdrawals both expire after ten seconds; the minimum may be spent at once.
 * Owns no clock: `nowMs` is monotonic time; one that goes back is taken as the newest seen.
 */
export class RetryBudget {
  readonly #percent: number;
  readonly #reserve: number;
  readonly #balances: number[];
  #second: number;
  #sum: number;

  constructor(limits: BudgetLimits, nowMs: number, state?: RetryBudgetState) {
    this.#percent = limits.percent;
    this.#reserve = limits.minPerSecond * SLOTS * COST;
    this.#second = state?.second ?? Math.floor(nowMs / SLOT_MS);
    this.#balances = new Array<number>(SLOTS).fill(0);
    state?.balances.slice(-SLOTS).forEach((balance, i, kept) => {
      this.#balances[slotOf(this.#second - kept.length + 1 + i)] = balance;
    });
    this.#sum = this.#balances.reduce((sum, balance) => sum + balance, 0);
  }

  /** A request has begun (its first attempt, not the further ones). */
  deposit(nowMs: number): void {
    this.#advance(nowMs);
    this.#book(this.#percent);
  }

  /** Takes what a further attempt costs. False, and nothing is taken, when the budget is spent. */
  withdraw(nowMs: number): boolean {
    this.#advance(nowMs);
    if (this.#sum + this.#reserve < COST) return false;
    this.#book(-COST);
    return true;
  }

  state(): RetryBudgetState {
    const balances = this.#balances.map((_, i) => this.#balances[slotOf(this.#second + 1 + i)] as number);
    return { second: this.#second, balances };
  }

  #book(amount: number): void {
    const slot = slotOf(this.#second);
    this.#balances[slot] = (this.#balances[slot] as number) + amount;
    this.#sum += amount;
  }

  #advance(nowMs: number): void {
    const second = Math.floor(nowMs / SLOT_MS);
    if (second <= this.#second) return;
    for (let i = Math.min(SLOTS, second - this.#second); i > 0; i--) {
      const slot = slotOf(second - i + 1);
      this.#sum -= this.#balances[slot] as number;
      this.#balances[slot] = 0;
    }
    this.#second = second;
  }
}

function slotOf(second: number): number {
  return ((second % SLOTS) + SLOTS) % SLOTS;
}
