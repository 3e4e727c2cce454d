import fs from "node:fs";

/** CPU time that the threads of these processes have used, nanoseconds: the first number of /proc/PID/task/TID/schedstat. */
export function cpuNs(pids: readonly number[]): number {
  let sum = 0;
  for (const pid of pids) {
    for (const task of fs.readdirSync(`/proc/${pid}/task`)) {
      try {
        sum += Number(fs.readFileSync(`/proc/${pid}/task/${task}/schedstat`, "utf8").split(" ")[0]);
      } catch {
        // A thread that ended between the two calls.
      }
    }
  }
  return sum;
}

export interface Memory {
  readonly rssMiB: number;
  readonly rssAnonMiB: number;
}

/** Resident memory of these processes together, MiB. Pages that processes share are counted in each. */
export function memory(pids: readonly number[]): Memory {
  let rss = 0;
  let anonymous = 0;
  for (const pid of pids) {
    const status = fs.readFileSync(`/proc/${pid}/status`, "utf8");
    rss += kib(status, "VmRSS");
    anonymous += kib(status, "RssAnon");
  }
  return { rssMiB: rss / 1024, rssAnonMiB: anonymous / 1024 };
}

function kib(status: string, field: string): number {
  return Number(new RegExp(`^${field}:\\s*(\\d+) kB`, "m").exec(status)?.[1] ?? 0);
}
