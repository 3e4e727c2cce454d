import type { Operation } from "./json-patch.ts";

/** RFC 6902, as the API server applies what we answer; throws where it would refuse. */
export function applyPatch(value: unknown, operations: readonly Operation[]): unknown {
  let root = copy(value);
  for (const operation of operations) {
    if (operation.path === "" && operation.op === "replace") {
      root = copy(operation.value);
      continue;
    }
    if (operation.op === "move") insert(root, operation.path, take(root, operation.from));
    else if (operation.op === "remove") take(root, operation.path);
    else {
      if (operation.op === "replace") take(root, operation.path);
      insert(root, operation.path, copy(operation.value));
    }
  }
  return root;
}

function take(root: unknown, pointer: string): unknown {
  const { parent, last } = locate(root, pointer);
  if (Array.isArray(parent)) {
    if (Number(last) >= parent.length) throw new Error(`${pointer} is not there`);
    return parent.splice(Number(last), 1)[0];
  }
  if (!Object.hasOwn(parent, last)) throw new Error(`${pointer} is not there`);
  const value = parent[last];
  delete parent[last];
  return value;
}

function insert(root: unknown, pointer: string, value: unknown): void {
  const { parent, last } = locate(root, pointer);
  if (!Array.isArray(parent)) Object.defineProperty(parent, last, { value, writable: true, enumerable: true, configurable: true });
  else if (Number(last) > parent.length) throw new Error(`${pointer} is beyond the end`);
  else parent.splice(Number(last), 0, value);
}

function locate(root: unknown, pointer: string): { parent: Record<string, unknown> | unknown[]; last: string } {
  const steps = pointer
    .slice(1)
    .split("/")
    .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"));
  const last = steps.pop()!;
  let parent = root as Record<string, unknown>;
  for (const step of steps) {
    if (!Object.hasOwn(parent, step)) throw new Error(`${pointer}: ${step} is not there`);
    parent = parent[step] as Record<string, unknown>;
  }
  return { parent, last };
}

/** As over the wire; structuredClone's objects are of another realm than a test's. */
function copy(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
