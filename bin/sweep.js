// The end of a run whose runner was killed: `node sweep.js RUN_ID [FOLDER]` kills every process that carries
// WEFT_RUN_ID=RUN_ID in its environment, whatever session it moved to, then removes the run's socket folder.
import fs from "node:fs";

const [runId, folder] = process.argv.slice(2);
const marker = `WEFT_RUN_ID=${runId}`;

function marked() {
  return fs.readdirSync("/proc").filter((entry) => {
    if (!/^\d+$/.test(entry) || Number(entry) === process.pid) return false;
    try {
      return fs.readFileSync(`/proc/${entry}/environ`, "latin1").split("\0").includes(marker);
    } catch {
      return false; // gone meanwhile, or another user's
    }
  });
}

const pause = new Int32Array(new SharedArrayBuffer(4));
// A process may be forking while we look: look until nobody is left, at most two seconds.
for (let round = 0; round < 100; round++) {
  const pids = marked();
  if (pids.length === 0) break;
  for (const pid of pids) {
    try {
      process.kill(Number(pid), "SIGKILL");
    } catch {
      // gone meanwhile
    }
  }
  Atomics.wait(pause, 0, 0, 20);
}
if (folder) fs.rmSync(folder, { recursive: true, force: true });
