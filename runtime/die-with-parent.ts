const PR_SET_PDEATHSIG = 1;
const SIGKILL = 9n;

/**
 * Asks the kernel to kill this process when its parent dies, however it dies (prctl(2), Linux). `parentPid` is
 * who started us: had it died before the call, nobody would tell us, so that is checked afterwards. False
 * when the parent is gone already or the system cannot do it: the caller must end by itself.
 */
export function dieWithParent(parentPid: number): boolean {
  if (process.platform !== "linux") return process.ppid === parentPid;
  // Loaded here only: merely importing it prints an ExperimentalWarning in processes that have no parent to fear for.
  const { dlopen } = process.getBuiltinModule("node:ffi");
  const { functions } = dlopen(null, { prctl: { arguments: ["i32", "u64", "u64", "u64", "u64"], return: "i32" } });
  functions.prctl(PR_SET_PDEATHSIG, SIGKILL, 0n, 0n, 0n);
  return process.ppid === parentPid;
}
