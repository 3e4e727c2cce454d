import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { isDeepStrictEqual } from "node:util";
import { record } from "./kube-error.ts";

type Json = Record<string, unknown>;
type Meta = Json & { name: string; namespace?: string; uid: string; resourceVersion: string; generation: number };
type Stored = Json & { metadata: Meta };

/** One answer of a fault script; used once. */
export type Fault = (request: IncomingMessage, response: ServerResponse) => void;

interface Watch {
  readonly collection: string;
  readonly namespace: string;
  readonly response: ServerResponse;
}

interface Event {
  readonly revision: number;
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly collection: string;
  readonly object: Stored;
}

/**
 * An API server for tests, on loopback: objects of any kind, lists in pages, watches from a revision, uid and
 * resourceVersion preconditions, server-side apply as far as the suite asks. And a script of faults.
 * It knows no schemas. What it has in common with the real one is held by test-suite.ts, which runs on both.
 */
export class FakeApi {
  /** Method, path and query of every request. */
  readonly asked: string[] = [];
  /** Taken in order by the requests whose "METHOD /path?query" matches. */
  readonly faults: { readonly match: RegExp; readonly act: Fault }[] = [];
  /** When set, only these bearer tokens are known. */
  tokens: Set<string> | null = null;
  /** Collections ("/apis/weft.dev/v1alpha1/trafficpolicies") that do not exist. */
  readonly missing = new Set<string>();
  /** What a TokenReview answers, by token: its `status`. */
  readonly reviews = new Map<string, Json>();
  readonly #objects = new Map<string, Map<string, Stored>>();
  readonly #events: Event[] = [];
  readonly #watches = new Set<Watch>();
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;
  #revision = 100;
  #compacted = 0;

  private constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response));
    this.#server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.once("close", () => this.#sockets.delete(socket));
    });
  }

  static start(): Promise<FakeApi> {
    const fake = new FakeApi();
    return new Promise((resolve) => fake.#server.listen(0, "127.0.0.1", () => resolve(fake)));
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get openSockets(): number {
    return this.#sockets.size;
  }

  get openWatches(): number {
    return this.#watches.size;
  }

  get revision(): string {
    return String(this.#revision);
  }

  close(): Promise<void> {
    this.killConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  killConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Watches hear nothing more of what happens, and their connections stay open: as when a NAT forgot them. */
  forgetWatches(): void {
    this.#watches.clear();
  }

  /** History up to now is gone: continue tokens and watches from before get 410. */
  compact(): void {
    this.#compacted = this.#revision;
    this.#events.length = 0;
  }

  /** Sends a bookmark to every watch. */
  bookmark(): void {
    for (const { response } of this.#watches) {
      response.write(line({ type: "BOOKMARK", object: { metadata: { resourceVersion: this.revision } } }));
    }
  }

  /** Writes these bytes into every watch. */
  inject(bytes: string): void {
    for (const { response } of this.#watches) response.write(bytes);
  }

  /** The server ends every watch in good order. */
  endWatches(): void {
    for (const { response } of this.#watches) response.end();
    this.#watches.clear();
  }

  /** Creates or replaces, as a client of its own would. */
  put(collection: string, object: Json): void {
    const { name, namespace = "" } = record(object["metadata"]) as { name: string; namespace?: string };
    const before = this.#table(collection).get(`${namespace}/${name}`);
    this.#store(collection, object, before);
  }

  delete(collection: string, namespace: string, name: string): void {
    const table = this.#table(collection);
    const before = table.get(`${namespace}/${name}`);
    if (before === undefined) return;
    table.delete(`${namespace}/${name}`);
    const object = { ...before, metadata: { ...before.metadata, resourceVersion: String(++this.#revision) } };
    this.#tell({ revision: this.#revision, type: "DELETED", collection, object });
  }

  list(collection: string): Stored[] {
    return [...this.#table(collection).values()];
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const asked = `${request.method} ${request.url}`;
    this.asked.push(asked);
    const at = this.faults.findIndex(({ match }) => match.test(asked));
    if (at !== -1) return this.faults.splice(at, 1)[0]!.act(request, response);
    const token = (request.headers.authorization ?? "").replace("Bearer ", "");
    if (this.tokens !== null && !this.tokens.has(token)) return status(response, 401, "Unauthorized", "no");
    let body = "";
    for await (const chunk of request) body += String(chunk);
    const url = new URL(request.url ?? "", this.url);
    const path = readPath(url.pathname);
    if (url.pathname.endsWith("/tokenreviews")) return this.#review(JSON.parse(body) as Json, response);
    if (path === null || this.missing.has(path.collection)) return status(response, 404, "NotFound", "the server could not find it");
    if (path.name !== "") return this.#one(request, path, body === "" ? {} : (JSON.parse(body) as Json), url.searchParams, response);
    if (request.method === "POST") return this.#create(path.collection, JSON.parse(body) as Json, response);
    if (url.searchParams.get("watch") === "1") return this.#watch(path, url.searchParams, response);
    this.#page(path, url.searchParams, response);
  }

  #page({ collection, namespace }: Path, query: URLSearchParams, response: ServerResponse) {
    const [revision = this.revision, after = ""] = (query.get("continue") ?? "").split("|").filter((part) => part !== "");
    if (Number(revision) < this.#compacted) return status(response, 410, "Expired", "the continue token is too old");
    const all = this.list(collection)
      .filter((object) => namespace === "" || object.metadata.namespace === namespace)
      .sort((a, b) => (key(a) < key(b) ? -1 : 1))
      .filter((object) => key(object) > after);
    const limit = Number(query.get("limit") ?? 0) || all.length;
    const items = all.slice(0, limit);
    const more = all.length > limit ? `${revision}|${key(items.at(-1)!)}` : "";
    // Items of a real list do not say their kind.
    const bare = items.map(({ kind: _kind, apiVersion: _version, ...rest }) => rest);
    answer(response, 200, {
      kind: "List",
      metadata: { resourceVersion: revision, ...(more === "" ? {} : { continue: more }) },
      items: bare,
    });
  }

  #watch({ collection, namespace }: Path, query: URLSearchParams, response: ServerResponse) {
    const from = Number(query.get("resourceVersion"));
    response.writeHead(200, { "content-type": "application/json" });
    if (from < this.#compacted) {
      const object = { kind: "Status", code: 410, reason: "Expired", message: "too old resource version" };
      response.end(line({ type: "ERROR", object }));
      return;
    }
    response.flushHeaders();
    const watch = { collection, namespace, response };
    for (const event of this.#events) if (event.revision > from) send(watch, event);
    this.#watches.add(watch);
    response.once("close", () => this.#watches.delete(watch));
  }

  #one(request: IncomingMessage, path: Path, body: Json, query: URLSearchParams, response: ServerResponse) {
    const { collection, namespace, name, part } = path;
    const before = this.#table(collection).get(`${namespace}/${name}`);
    if (before === undefined && (request.method !== "PATCH" || part !== ""))
      return status(response, 404, "NotFound", `"${name}" not found`);
    const { uid, resourceVersion } = record(body["metadata"]);
    const isOther = uid !== undefined && uid !== before?.metadata.uid;
    if (isOther && before !== undefined && request.method === "PATCH" && part === "") {
      const causes = [{ reason: "FieldValueInvalid", message: "field is immutable", field: "metadata.uid" }];
      return status(response, 422, "Invalid", "metadata.uid: field is immutable", { causes });
    }
    // A status is written whatever uid is sent, as the real one does.
    if (isOther && part === "") return status(response, 409, "Conflict", "Precondition failed: UID in precondition");
    if (resourceVersion !== undefined && resourceVersion !== before?.metadata.resourceVersion)
      return status(response, 409, "Conflict", "the object has been modified");
    switch (request.method) {
      case "GET":
        return answer(response, 200, before!);
      case "DELETE":
        this.delete(collection, namespace, name);
        return answer(response, 200, { kind: "Status", status: "Success" });
      case "PUT":
        return answer(response, 200, this.#store(collection, body, before));
      default:
        return this.#apply(path, body, query, before, response);
    }
  }

  /** Server-side apply of leaves: each is owned by whoever sent it last. */
  #apply({ collection, part }: Path, body: Json, query: URLSearchParams, before: Stored | undefined, response: ServerResponse) {
    const manager = query.get("fieldManager") ?? "";
    const owners = new Map(Object.entries(record(before?.metadata["owners"]) as Record<string, string>));
    const roots =
      part === "status" ? ["status"] : Object.keys(body).filter((root) => !["status", "metadata", "kind", "apiVersion"].includes(root));
    const leaves = roots.flatMap((root) => leavesOf(body[root], [root]));
    const next = JSON.parse(JSON.stringify(before ?? body)) as Json;
    const taken = leaves.filter(({ path, value }) => {
      const owner = owners.get(path.join("."));
      return owner !== undefined && owner !== manager && !isDeepStrictEqual(at(next, path), value);
    });
    if (taken.length > 0 && query.get("force") !== "true") {
      const causes = taken.map(({ path }) => ({
        reason: "FieldManagerConflict",
        message: `conflict with "${owners.get(path.join("."))}"`,
        field: `.${path.join(".")}`,
      }));
      return status(response, 409, "Conflict", `Apply failed with ${taken.length} conflict`, { causes });
    }
    const sent = new Set(leaves.map(({ path }) => path.join(".")));
    for (const [path, owner] of owners) {
      if (owner !== manager || sent.has(path) || !roots.includes(path.split(".")[0]!)) continue;
      set(next, path.split("."), undefined);
      owners.delete(path);
    }
    for (const { path, value } of leaves) {
      set(next, path, value);
      owners.set(path.join("."), manager);
    }
    next["metadata"] = { ...record(next["metadata"]), owners: Object.fromEntries(owners) };
    const stored = query.get("dryRun") === "All" ? (next as Stored) : this.#store(collection, next, before);
    answer(response, before === undefined ? 201 : 200, stored);
  }

  #create(collection: string, body: Json, response: ServerResponse) {
    const { name, namespace = "" } = record(body["metadata"]) as { name: string; namespace?: string };
    if (this.#table(collection).has(`${namespace}/${name}`)) return status(response, 409, "AlreadyExists", `"${name}" already exists`);
    answer(response, 201, this.#store(collection, body, undefined));
  }

  #review(body: Json, response: ServerResponse) {
    const token = String(record(body["spec"])["token"]);
    answer(response, 201, { ...body, status: this.reviews.get(token) ?? { authenticated: false } });
  }

  #store(collection: string, body: Json, before: Stored | undefined): Stored {
    const given = record(body["metadata"]) as Meta;
    const revision = ++this.#revision;
    const isNewSpec = before !== undefined && !isDeepStrictEqual(before["spec"], body["spec"]);
    const metadata: Meta = {
      ...given,
      uid: before?.metadata.uid ?? (given.uid as string | undefined) ?? `uid-${revision}`,
      generation: (before?.metadata.generation ?? 1) + (isNewSpec ? 1 : 0),
      resourceVersion: String(revision),
    };
    const object: Stored = { ...body, metadata };
    this.#table(collection).set(key(object), object);
    this.#tell({ revision, type: before === undefined ? "ADDED" : "MODIFIED", collection, object });
    return object;
  }

  #tell(event: Event): void {
    this.#events.push(event);
    for (const watch of this.#watches) send(watch, event);
  }

  #table(collection: string): Map<string, Stored> {
    let table = this.#objects.get(collection);
    if (table === undefined) this.#objects.set(collection, (table = new Map()));
    return table;
  }
}

/** A meta/v1 Status as an answer. */
export function status(
  response: ServerResponse,
  code: number,
  reason: string,
  message: string,
  details: Json = {},
  headers: Record<string, string> = {},
): void {
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  answer(response, code, { kind: "Status", apiVersion: "v1", status: "Failure", code, reason, message, details });
}

export function answer(response: ServerResponse, code: number, body: unknown): void {
  response.writeHead(code, { "content-type": "application/json" }).end(JSON.stringify(body));
}

export function line(event: unknown): string {
  return `${JSON.stringify(event)}\n`;
}

interface Path {
  readonly collection: string;
  readonly namespace: string;
  readonly name: string;
  readonly part: string;
}

function readPath(path: string): Path | null {
  const match = /^(\/api\/v1|\/apis\/[^/]+\/[^/]+)(?:\/namespaces\/([^/]+)(?=\/))?\/([^/]+)(?:\/([^/]+))?(?:\/([^/]+))?$/.exec(path);
  if (match === null) return null;
  const [, root = "", namespace = "", plural = "", name = "", part = ""] = match;
  return { collection: `${root}/${plural}`, namespace, name, part };
}

function send({ collection, namespace, response }: Watch, event: Event): void {
  if (event.collection !== collection || (namespace !== "" && event.object.metadata.namespace !== namespace)) return;
  response.write(line({ type: event.type, object: event.object }));
}

function key({ metadata }: Stored): string {
  return `${metadata.namespace ?? ""}/${metadata.name}`;
}

/** Lists are leaves, as atomic lists are. */
function leavesOf(value: unknown, path: readonly string[]): { path: readonly string[]; value: unknown }[] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return [{ path, value }];
  return Object.entries(value).flatMap(([name, child]) => leavesOf(child, [...path, name]));
}

function at(object: Json, path: readonly string[]): unknown {
  return path.reduce<unknown>((value, name) => record(value)[name], object);
}

function set(object: Json, path: readonly string[], value: unknown): void {
  let target = object;
  for (const name of path.slice(0, -1)) {
    target[name] ??= {};
    target = target[name] as Json;
  }
  const last = path.at(-1)!;
  if (value === undefined) delete target[last];
  else target[last] = value;
}
