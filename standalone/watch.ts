import fs from "node:fs";
import type { Clock } from "#api/clock.ts";

/** Quiet after the last event of a change before it is read, milliseconds: a write comes as several events. */
const SETTLE_MS = 20;
/** Longest wait while events keep coming, milliseconds. */
const SETTLE_MAX_MS = 50;
/** Wait before a file that vanished is believed gone, milliseconds: editors truncate, or rename and write anew. */
const CONFIRM_MS = 300;
/** Look even without events: some file systems send none. Milliseconds. */
const POLL_MS = 1000;

/** Calls `look` when something in the folder may have changed; `look` compares contents and says whether to confirm. */
export class FolderWatch {
  private watcher: fs.FSWatcher | null = null;
  private cancelSettle: (() => void) | null = null;
  private cancelConfirm: (() => void) | null = null;
  private cancelPoll: (() => void) | null = null;
  private firstEventMs: number | null = null;
  private readonly clock: Clock;
  private readonly look: (confirmed: boolean) => { readonly vanished: boolean };

  constructor(folder: string, clock: Clock, look: (confirmed: boolean) => { readonly vanished: boolean }) {
    this.clock = clock;
    this.look = look;
    try {
      this.watcher = fs.watch(folder, { persistent: false }, () => this.event());
      this.watcher.on("error", () => this.watcher?.close());
    } catch {
      // No inotify left: the poll finds changes within a second.
    }
    this.poll();
  }

  close(): void {
    this.watcher?.close();
    for (const cancel of [this.cancelSettle, this.cancelConfirm, this.cancelPoll]) cancel?.();
  }

  private event(): void {
    const now = this.clock.monotonicMs();
    this.firstEventMs ??= now;
    this.cancelSettle?.();
    this.cancelSettle = this.clock.after(Math.min(SETTLE_MS, Math.max(0, this.firstEventMs + SETTLE_MAX_MS - now)), () => {
      this.firstEventMs = null;
      this.turn();
    });
  }

  private poll(): void {
    this.cancelPoll = this.clock.after(POLL_MS, () => {
      this.turn();
      this.poll();
    });
  }

  private turn(): void {
    if (!this.look(false).vanished || this.cancelConfirm !== null) return;
    this.cancelConfirm = this.clock.after(CONFIRM_MS, () => {
      this.cancelConfirm = null;
      this.look(true);
    });
  }
}
