import type { Clock } from "#api/clock.ts";

/** Width of one slot of the wheel. A deadline fires at most this much late. */
export const SLOT_MS = 20;
const SLOTS = 512;

/** One timeout that can be armed again and again. Embedded in what it times, so that a request arms no Node timer and allocates nothing. */
export class Deadline {
  /** @internal */ prev: Deadline | null = null;
  /** @internal */ next: Deadline | null = null;
  /** @internal */ slot = -1;
  /** @internal */ atMs = 0;
  readonly fire: () => void;

  constructor(fire: () => void) {
    this.fire = fire;
  }

  get armed(): boolean {
    return this.slot >= 0;
  }
}

/**
 * Hashed timing wheel (Varghese and Lauck 1987, scheme 6): arm and cancel are O(1), one Node timer for all
 * of them, and none while nothing is armed.
 */
export class Deadlines {
  private readonly slots: (Deadline | null)[] = new Array<Deadline | null>(SLOTS).fill(null);
  private readonly clock: Clock;
  private count = 0;
  private ticking = false;
  private lastTick = 0;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** (Re)arms `d` to fire `delayMs` from now. Zero or less: at the next tick. */
  arm(d: Deadline, delayMs: number): void {
    this.cancel(d);
    const now = this.clock.monotonicMs();
    d.atMs = now + delayMs;
    // The slot that is being passed now is not visited again for a whole turn: never put anything there.
    const tick = Math.max(Math.ceil(d.atMs / SLOT_MS), Math.floor(now / SLOT_MS) + 1);
    d.slot = tick % SLOTS;
    const head = this.slots[d.slot] as Deadline | null;
    d.next = head;
    if (head !== null) head.prev = d;
    this.slots[d.slot] = d;
    this.count++;
    if (!this.ticking) {
      this.ticking = true;
      this.lastTick = Math.floor(now / SLOT_MS);
      this.clock.after(SLOT_MS, this.tick);
    }
  }

  cancel(d: Deadline): void {
    if (d.slot < 0) return;
    if (d.prev !== null) d.prev.next = d.next;
    else this.slots[d.slot] = d.next;
    if (d.next !== null) d.next.prev = d.prev;
    d.prev = null;
    d.next = null;
    d.slot = -1;
    this.count--;
  }

  private readonly tick = (): void => {
    const now = this.clock.monotonicMs();
    const to = Math.floor(now / SLOT_MS);
    // After a long stall one turn of the wheel visits every slot; more would visit them again.
    const from = Math.max(this.lastTick + 1, to - SLOTS + 1);
    this.lastTick = to;
    for (let t = from; t <= to; t++) this.fireSlot(t % SLOTS, now);
    if (this.count === 0) {
      this.ticking = false;
      return;
    }
    this.clock.after(SLOT_MS, this.tick);
  };

  private fireSlot(slot: number, nowMs: number): void {
    let due: Deadline[] | null = null;
    for (let d = this.slots[slot] as Deadline | null; d !== null; d = d.next) if (d.atMs <= nowMs) (due ??= []).push(d);
    if (due === null) return;
    for (const d of due) {
      // An earlier one may have cancelled or re-armed it.
      if (d.slot !== slot || d.atMs > nowMs) continue;
      this.cancel(d);
      d.fire();
    }
  }
}
