import assert from "node:assert/strict";
import { forwardedOf } from "#mesh/decide/fields.ts";
import type { ResetReason } from "../protocol/stream.ts";
import { InboundDirector } from "./inbound.ts";
import { type FakeAttempt, FakeEndpoint, request, World } from "./test-exchange.ts";

interface Options {
  readonly sidecar?: boolean;
  readonly id?: string;
  readonly draining?: boolean;
  readonly overloaded?: boolean;
}

/** An exchange as inbound makes them; its app is the one endpoint. */
function inbound({ sidecar = true, id = "spiffe://td/ns/a/sa/b", draining = false, overloaded = false }: Options = {}): World {
  return new World({
    director: (w) => {
      const app = new FakeEndpoint("app", w);
      const open = {
        open: (events: FakeAttempt["events"], holder: Parameters<FakeEndpoint["open"]>[1]) => app.open(events, holder) as FakeAttempt,
      };
      const peer = { id, forwarded: forwardedOf("spiffe://td/ns/a/sa/me", id === "" ? null : id, "10.0.0.7"), sidecar };
      return new InboundDirector(peer, open, {
        nowMs: () => w.clock.monotonicMs(),
        draining: () => draining,
        overloaded: () => overloaded,
        request: () => w.finished++,
        log: () => {},
      });
    },
  });
}

describe("an inbound request", () => {
  it("reaches the app with what we know of the caller in place of what it claims", () => {
    const w = inbound();
    const forged = [
      "x-forwarded-client-cert",
      "By=x",
      "X_Forwarded_Client_Cert",
      "By=y",
      "Weft-Peer",
      "z",
      "weft_peer",
      "z",
      "forwarded",
      "for=1",
      "x-a",
      "1",
    ];
    w.down.head(request("GET", { fields: forged }), true);
    assert.deepEqual(w.x.request.fields, [
      "x-a",
      "1",
      "x-forwarded-for",
      "10.0.0.7",
      "x-forwarded-client-cert",
      "By=spiffe://td/ns/a/sa/me;URI=spiffe://td/ns/a/sa/b",
    ]);
  });

  it("in plaintext carries no certificate at all, not even the client's word", () => {
    const w = inbound({ id: "", sidecar: false });
    w.down.head(request("GET", { fields: ["x-forwarded-client-cert", "By=x"] }), true);
    assert.deepEqual(w.x.request.fields, ["x-forwarded-for", "10.0.0.7"]);
  });

  it("is answered without names of ours, which an app might forge", () => {
    const w = inbound();
    w.down.head(request(), true);
    const fields = ["weft-error", "WEFT_NO_ROUTE", "x-a", "1"];
    const head = { status: 200, reason: "", version: 11 as const, fields, contentLength: -1 };
    w.up(1).head(head, true);
    assert.deepEqual(head.fields, ["x-a", "1"]);
    assert.equal(w.leftover(), "");
  });

  const ends: readonly { name: string; options?: Options; play: (w: World) => void; down: string }[] = [
    { name: "is refused to a sidecar while the pod drains", options: { draining: true }, play: () => {}, down: "down reset refused" },
    {
      name: "is answered 503 to others while the pod drains",
      options: { draining: true, sidecar: false },
      play: () => {},
      down: "down head 503 end",
    },
    { name: "is refused to a sidecar while buffers are full", options: { overloaded: true }, play: () => {}, down: "down reset refused" },
    {
      name: "is refused to a sidecar when the app could not be reached",
      play: (w) => breaks(w, "closed", { established: false }),
      down: "down reset refused",
    },
    {
      name: "is answered 503 to others when the app could not be reached",
      options: { sidecar: false },
      play: (w) => breaks(w, "closed", { established: false }),
      down: "down head 503 end",
    },
    {
      name: "is refused to a sidecar when an old connection broke before a byte of answer",
      play: (w) => breaks(w, "closed", { reused: true }),
      down: "down reset refused",
    },
    {
      name: "is answered when an old connection broke after an interim response, for the app has seen it",
      play: (w) => {
        w.up(1).interim(100);
        breaks(w, "closed", { reused: true });
      },
      down: "down head 503 end",
    },
    {
      name: "is answered when a new connection broke, for the app may have processed it",
      play: (w) => breaks(w, "closed", {}),
      down: "down head 503 end",
    },
    { name: "is answered 502 when the app does not speak HTTP", play: (w) => breaks(w, "protocol", {}), down: "down head 502 end" },
    { name: "is answered 400 for a path with a NUL", options: {}, play: () => {}, down: "down head 400 end" },
  ];
  for (const { name, options, play, down } of ends) {
    it(name, () => {
      const w = inbound(options);
      w.down.head(request("HEAD", down.includes("400") ? { target: "/\0" } : {}), true);
      play(w);
      assert.equal(w.log.at(-1), down);
      assert.ok(w.attempts.length <= 1);
      assert.equal(w.leftover(), "");
    });
  }
});

function breaks(w: World, reason: ResetReason, connection: { established?: boolean; reused?: boolean }): void {
  Object.assign(w.up(1).connection, connection);
  w.up(1).breaks(reason);
}
