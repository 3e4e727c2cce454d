// Starts an app so that it cannot outlive the runner: `node launch.js RUNNER_PID FILE ARGV0 [ARG…]` asks the kernel
// to kill this process when its parent dies, then becomes the program (execve keeps that wish, and the pid).
import { dlopen } from "node:ffi";

const [runner, file, ...argv] = process.argv.slice(2);
const PR_SET_PDEATHSIG = 1;
const SIGKILL = 9n;
const SIG_DFL = 0n;
// Node ignores these two and an ignored signal stays ignored over execve; a shell's pipelines need SIGPIPE.
const SIGPIPE = 13;
const SIGXFSZ = 25;

const { functions } = dlopen(null, {
  prctl: { arguments: ["i32", "u64", "u64", "u64", "u64"], return: "i32" },
  signal: { arguments: ["i32", "u64"], return: "u64" },
});
functions.prctl(PR_SET_PDEATHSIG, SIGKILL, 0n, 0n, 0n);
if (process.ppid !== Number(runner)) process.exit(1);
functions.signal(SIGPIPE, SIG_DFL);
functions.signal(SIGXFSZ, SIG_DFL);

// The app's own NODE_OPTIONS must not act on this launcher.
const env = { ...process.env };
if (env.WEFT_APP_NODE_OPTIONS !== undefined) env.NODE_OPTIONS = env.WEFT_APP_NODE_OPTIONS;
delete env.WEFT_APP_NODE_OPTIONS;
process.execve(file, argv, env);
