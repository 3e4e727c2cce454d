/** A run takes one /20 of 127.77.0.0/16; there are 16. */
export const RANGES = 16;
const RANGE_SIZE = 4096;
/** Host numbers: 0 is the network, 1 the operator, the last the broadcast address. */
const OPERATOR_HOST = 1;
const FIRST_HOST = 2;

/**
 * Hands out the addresses of one range. What was given back is used again last, so that a late packet or a
 * stale endpoint does not meet a new pod.
 */
export class AddressPool {
  private readonly base: number;
  private next = FIRST_HOST;
  private readonly released: string[] = [];

  constructor(range: number) {
    if (!Number.isInteger(range) || range < 0 || range >= RANGES) throw new Error(`no such range: ${range}`);
    this.base = range * RANGE_SIZE;
  }

  get operator(): string {
    return this.address(OPERATOR_HOST);
  }

  /** "127.77.16.0/20". */
  get cidr(): string {
    return `${this.address(0)}/20`;
  }

  /** How many more can be taken. */
  get free(): number {
    return RANGE_SIZE - 1 - this.next + this.released.length;
  }

  /** Null: the range is used up. */
  take(): string | null {
    if (this.next < RANGE_SIZE - 1) return this.address(this.next++);
    return this.released.shift() ?? null;
  }

  giveBack(address: string): void {
    this.released.push(address);
  }

  private address(host: number): string {
    const n = this.base + host;
    return `127.77.${n >> 8}.${n & 255}`;
  }
}
