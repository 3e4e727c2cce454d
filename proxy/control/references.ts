import { type Entry, newEntry } from "./entry.ts";
import type { Outbox } from "./outbox.ts";

/**
 * Which services name which endpoints documents, in force or pending. Endpoints are subscribed to because a wanted service names
 * them, and for no other reason.
 */
export class References {
  private readonly entries: Map<string, Entry>;
  private readonly outbox: Outbox;
  private readonly onForgotten: (key: string) => void;
  private readonly services = new Map<string, Set<string>>();

  constructor(entries: Map<string, Entry>, outbox: Outbox, onForgotten: (key: string) => void) {
    this.entries = entries;
    this.outbox = outbox;
    this.onForgotten = onForgotten;
  }

  /** Services that name these endpoints. */
  to(endpointsKey: string): Entry[] {
    return [...(this.services.get(endpointsKey) ?? [])].map((key) => this.entries.get(key)!);
  }

  /** Brings everything in line with what a service names now: new endpoints are asked for, ones that nobody names are dropped. */
  update(service: Entry): void {
    const before = service.referred;
    const names = new Set([...service.refers, ...(service.pending?.refers ?? [])]);
    service.referred = names;
    for (const key of names) {
      const target = this.entries.get(key) ?? newEntry(key, "endpoints", 0, false);
      this.entries.set(key, target);
      const services = this.services.get(key) ?? new Set();
      this.services.set(key, services.add(service.key));
      if (target.wanted || !service.wanted) continue;
      target.wanted = true;
      this.outbox.subscribe(target);
    }
    for (const key of before) {
      const services = this.services.get(key);
      if (names.has(key) || services === undefined || !services.delete(service.key) || services.size > 0) continue;
      this.services.delete(key);
      if (this.entries.get(key)?.wanted === true) this.outbox.unsubscribe(key);
      this.entries.delete(key);
      this.onForgotten(key);
    }
  }

  /** A service went idle: its endpoints go with it, but for those that a wanted service names. They stay as last-good. */
  sleep(service: Entry): void {
    for (const key of service.refers) {
      if (this.to(key).some((other) => other.wanted)) continue;
      const target = this.entries.get(key)!;
      target.wanted = false;
      target.gathering = null;
      target.skipping = null;
      target.awaitingWhole = false;
      this.outbox.unsubscribe(key);
    }
  }
}
