import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Protocol, type RouteSchema, ServiceSchema } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { compileService } from "#mesh/decide/compile.ts";
import { RetryBudget } from "#mesh/decide/retry-budget.ts";
import { SplitSequence } from "#mesh/decide/split.ts";
import { ManualClock } from "#testing/manual-clock.ts";
import { Load } from "../balance/load.ts";
import { RoundRobinPicker } from "../balance/picker.ts";
import type {
  ClientEvents,
  ClientStream,
  Fields,
  RequestHead,
  ResetReason,
  ResponseHead,
  Stream,
  StreamEvents,
} from "../protocol/stream.ts";
import { Deadlines } from "../resilience/deadlines.ts";
import type { ProxyError } from "./errors.ts";
import { type Director, Exchange } from "./exchange.ts";
import { type OutboundCluster, OutboundDirector, type OutboundEndpoint } from "./outbound.ts";
import type { Upstream } from "./upstream.ts";

/** For this room's tests: streams that write down what is done to them, and an exchange between them on a manual clock. */

/** One stream as its owner sees it, played by hand. A line of the log for each call; what breaks the contract is a line that starts with "!". */
export class FakeStream<Heard, Said> implements Stream<Said> {
  readonly name: string;
  private readonly log: string[];
  events!: StreamEvents<Heard>;
  /** What `writeData` answers. */
  room = true;
  received = 0;
  credited = 0;
  sent = 0;
  headSent = false;
  headReceived = false;
  localEnded = false;
  remoteEnded = false;
  /** Reset by either side: nothing more happens. */
  dead = false;
  waiting = false;

  constructor(name: string, log: string[]) {
    this.name = name;
    this.log = log;
  }

  private say(text: string): void {
    if (this.dead) return;
    this.log.push(`${this.name} ${text}`);
  }

  private end(end: boolean): string {
    this.localEnded ||= end;
    return end ? " end" : "";
  }

  writeHead(head: Said, end: boolean): void {
    if (this.dead) return;
    if (this.headSent) this.log.push(`!${this.name} a second head`);
    this.headSent = true;
    const h = head as unknown as RequestHead & ResponseHead;
    const what = h.method === undefined ? String(h.status) : `${h.method} ${h.target}`;
    this.say(`head ${what}${this.end(end)}`);
  }

  writeInterim(head: ResponseHead): void {
    if (this.headSent) this.log.push(`!${this.name} an interim response after the head`);
    this.say(`interim ${head.status}${head.fields.length > 0 ? ` ${head.fields.join(" ")}` : ""}`);
  }

  writeData(chunk: Buffer, end: boolean): boolean {
    if (this.dead) return true;
    if (!this.headSent || this.localEnded) this.log.push(`!${this.name} data where none may be`);
    this.sent += chunk.length;
    this.say(`data ${chunk.length}${this.end(end)}`);
    this.waiting ||= !this.room;
    return this.room;
  }

  writeTrailers(fields: Fields): void {
    if (this.dead) return;
    if (!this.headSent || this.localEnded) this.log.push(`!${this.name} trailers where none may be`);
    this.say(`trailers ${fields.join(" ")}`);
    this.localEnded = true;
  }

  credit(bytes: number): void {
    this.credited += bytes;
    if (this.credited > this.received) this.log.push(`!${this.name} credited ${this.credited} of ${this.received}`);
    this.say(`credit ${bytes}`);
  }

  reset(reason: ResetReason): void {
    this.say(`reset ${reason}`);
    this.dead = true;
  }

  /** Whether the peer may still say something. */
  get speaks(): boolean {
    return !this.dead && !this.remoteEnded;
  }

  // What the peer does.

  head(head: Heard, end = false): void {
    this.headReceived = true;
    this.remoteEnded = end;
    this.events.onHead(head, end);
  }

  data(bytes: number, end = false): void {
    this.remoteEnded = end;
    this.received += bytes;
    this.events.onData(Buffer.alloc(bytes, 97), end);
  }

  trailers(...fields: string[]): void {
    this.remoteEnded = true;
    this.events.onTrailers(fields);
  }

  breaks(reason: ResetReason, detail = "made up"): void {
    this.dead = true;
    this.events.onReset(reason, detail);
  }

  drains(): void {
    this.room = true;
    this.waiting = false;
    this.events.onWritable();
  }
}

/** One attempt as upstream sees it. */
export class FakeAttempt extends FakeStream<ResponseHead, RequestHead> {
  readonly connection: { failure: ProxyError | null; established: boolean; reused: boolean; bulk: number };
  readonly endpoint: FakeEndpoint;

  constructor(name: string, log: string[], endpoint: FakeEndpoint) {
    super(name, log);
    this.endpoint = endpoint;
    this.connection = { failure: null, established: true, reused: false, bulk: 0 };
  }

  interim(status: number, ...fields: string[]): void {
    this.events.onInterim(response(status, fields));
  }

  responds(status: number, end = false, fields: string[] = []): void {
    this.head(response(status, fields), end);
  }
}

export class FakeEndpoint implements OutboundEndpoint {
  readonly name: string;
  readonly spiffeId = "";
  readonly load = new Load();
  ready = true;
  /** Answered in place of a stream. */
  refusal: ProxyError | null = null;
  readonly opened: FakeAttempt[] = [];
  private readonly world: World;

  constructor(name: string, world: World) {
    this.name = name;
    this.world = world;
  }

  open(events: ClientEvents, holder: { upstream: Upstream | null }): ClientStream | ProxyError {
    if (this.refusal !== null) return this.refusal;
    const attempt = new FakeAttempt(`up${this.world.attempts.length + 1}`, this.world.log, this);
    attempt.events = events;
    attempt.room = this.world.upstreamRoom;
    holder.upstream = attempt.connection;
    this.opened.push(attempt);
    this.world.attempts.push(attempt);
    return attempt;
  }
}

export function request(method = "GET", more: Partial<RequestHead> = {}): RequestHead {
  return { method, target: "/x", authority: "shop", version: 11, fields: [], contentLength: -1, ...more };
}

export function response(status: number, fields: string[] = []): ResponseHead {
  return { status, reason: "", version: 11, fields, contentLength: -1 };
}

export interface WorldOptions {
  readonly route?: MessageInitShape<typeof RouteSchema>;
  readonly endpoints?: number;
  readonly random?: () => number;
  /** In place of outbound's. */
  readonly director?: (world: World) => Director;
  readonly overloaded?: () => boolean;
}

/** An exchange with everything around it played by hand. The director is outbound's own unless another is given. */
export class World {
  readonly clock = new ManualClock();
  readonly deadlines = new Deadlines(this.clock);
  readonly log: string[] = [];
  readonly down: FakeStream<RequestHead, ResponseHead>;
  readonly endpoints: FakeEndpoint[];
  readonly attempts: FakeAttempt[] = [];
  readonly x: Exchange;
  readonly retries: string[] = [];
  exhausted = 0;
  finished = 0;
  upstreamRoom = true;
  /** Whole log, in which `take` has moved on. */
  private taken = 0;

  constructor(options: WorldOptions = {}) {
    this.endpoints = Array.from({ length: options.endpoints ?? 2 }, (_, i) => new FakeEndpoint(`e${i + 1}`, this));
    this.down = new FakeStream("down", this.log);
    const director = options.director?.(this) ?? this.outbound(options);
    this.x = new Exchange(this.down, director, this.deadlines, () => this.clock.monotonicMs());
    this.down.events = this.x;
  }

  private outbound({ route, random = () => 0.5, overloaded = () => false }: WorldOptions): Director {
    const document = create(ServiceSchema, {
      namespace: "ns",
      name: "shop",
      port: 80,
      protocol: Protocol.HTTP,
      clusters: [{ name: "ns/shop:80", endpoints: "endpoints/ns/shop/80" }],
      routes: route === undefined ? [] : [{ name: "r", backends: [{ cluster: 0, weight: 1 }], ...route }],
    });
    const compiled = compileService(document);
    const cluster: OutboundCluster = { name: "ns/shop:80", subset: "", picker: new RoundRobinPicker(), endpoints: this.endpoints };
    const budget = new RetryBudget(compiled.routes[0]!.budget, 0);
    return new OutboundDirector(
      { compiled, clusters: [cluster], budget, splits: [new SplitSequence(0)] },
      {
        request: () => this.finished++,
        retry: (reason) => this.retries.push(reason),
        budgetExhausted: () => this.exhausted++,
        fault: () => {},
      },
      { random, nowMs: () => this.clock.monotonicMs(), overloaded, log: () => {} },
    );
  }

  /** The log since the last call. */
  take(): string[] {
    const lines = this.log.slice(this.taken);
    this.taken = this.log.length;
    return lines;
  }

  up(n: number): FakeAttempt {
    const attempt = this.attempts[n - 1];
    if (attempt === undefined) throw new Error(`there is no attempt ${n}: ${this.log.join(", ")}`);
    return attempt;
  }

  /** What must hold once it is over, whatever happened: "" or what does not. */
  leftover(): string {
    const wrong = this.log.filter((line) => line.startsWith("!"));
    const inFlight = this.endpoints.reduce((sum, e) => sum + e.load.inFlight, 0);
    if (inFlight !== 0) wrong.push(`${inFlight} in flight`);
    const bulk = this.attempts.reduce((sum, a) => sum + a.connection.bulk, 0);
    if (bulk !== 0) wrong.push(`${bulk} counted as bulk`);
    if (this.finished !== 1) wrong.push(`finished ${this.finished} times`);
    if (this.down.credited !== this.down.received) wrong.push(`${this.down.credited} of ${this.down.received} credited`);
    if (!this.down.dead && !this.down.localEnded) wrong.push("neither answered nor reset");
    // One tick of the wheel may be under way; after it there is no timer while nothing is armed.
    this.clock.advance(20);
    if (this.clock.pending !== 0) wrong.push("a deadline is armed");
    return wrong.join("; ");
  }
}
