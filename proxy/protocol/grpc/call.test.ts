import assert from "node:assert/strict";
import type { ClientStream, Fields, RequestHead, ResponseHead } from "../stream.ts";
import { type CallOptions, GrpcCall } from "./call.ts";
import { frameMessage } from "./messages.ts";
import { CODE_NAMES } from "./status.ts";

const OPTIONS: CallOptions = { path: "/a.B/C", authority: "operator:16810", userAgent: "test/1", messageBytesMax: 100 };
const GRPC: Fields = ["content-type", "application/grpc+proto"];

/** A call on a stream that writes down what is done to it. */
function begin(options: Partial<CallOptions> = {}, onMessage: (call: GrpcCall) => void = () => {}) {
  const log: string[] = [];
  const wire = { heads: [] as RequestHead[], credited: 0, room: true };
  const stream: ClientStream = {
    writeHead: (head) => wire.heads.push(head),
    writeInterim: () => {},
    writeData: (chunk, end) => {
      log.push(`sent ${chunk.toString("hex")}${end ? " end" : ""}`);
      return wire.room;
    },
    writeTrailers: () => {},
    credit: (bytes) => {
      wire.credited += bytes;
    },
    reset: (reason) => log.push(`reset ${reason}`),
  };
  const call: GrpcCall = new GrpcCall(
    { ...OPTIONS, ...options },
    {
      onMessage: (message) => {
        log.push(`message ${message.toString()}`);
        onMessage(call);
      },
      onEnd: (status) => log.push(`end ${CODE_NAMES[status.code]}: ${status.message}`),
      onWritable: () => log.push("writable"),
    },
  );
  call.start(stream);
  return { call, log, wire };
}

function head(status: number, fields: Fields): ResponseHead {
  return { status, reason: "", version: 20, fields, contentLength: -1 };
}

const told = (text: string): Buffer => frameMessage(Buffer.from(text));

describe("a call", () => {
  it("asks by POST, with what gRPC wants of a request", () => {
    assert.deepEqual(begin({ timeoutMs: 1500 }).wire.heads, [
      {
        method: "POST",
        target: "/a.B/C",
        authority: "operator:16810",
        version: 20,
        fields: ["te", "trailers", "content-type", "application/grpc", "user-agent", "test/1", "grpc-timeout", "1500m"],
        contentLength: -1,
      },
    ]);
  });

  it("sends messages with their prefix, and the last with the end", () => {
    const { call, log } = begin();
    call.send(Buffer.from("a"));
    call.send(Buffer.alloc(0), true);
    assert.deepEqual(log, ["sent 000000000161", "sent 0000000000 end"]);
  });

  it("tells of messages as they come and of the status in the trailers, and gives its own side up then", () => {
    const { call, log } = begin();
    call.onHead(head(200, GRPC), false);
    call.onData(Buffer.concat([told("one"), told("two").subarray(0, 4)]), false);
    call.onData(told("two").subarray(4), false);
    call.onTrailers(["grpc-status", "0"]);
    assert.deepEqual(log, ["message one", "message two", "reset cancelled", "end OK: "]);
  });

  it("tells nothing after its end, whatever comes", () => {
    const { call, log } = begin();
    call.onHead(head(200, ["grpc-status", "5", "grpc-message", "no such"]), true);
    call.onData(told("x"), true);
    call.onTrailers(["grpc-status", "0"]);
    call.onReset("closed", "gone");
    call.send(Buffer.from("late"));
    assert.deepEqual(log, ["reset cancelled", "end NOT_FOUND: no such"]);
  });

  it("tells nothing after it was cancelled, not even the rest of a chunk", () => {
    const { call, log } = begin({}, (self) => self.cancel());
    call.onHead(head(200, GRPC), false);
    call.onData(Buffer.concat([told("one"), told("two")]), true);
    assert.deepEqual(log, ["message one", "reset cancelled"]);
  });

  const ends: { name: string; feed: (call: GrpcCall) => void; end: string }[] = [
    {
      name: "a head of another kind, trailers-only by its status",
      feed: (c) => c.onHead(head(503, ["grpc-status", "14", "grpc-message", "draining"]), true),
      end: "UNAVAILABLE: draining",
    },
    {
      name: "a proxy's error page",
      feed: (c) => c.onHead(head(502, ["content-type", "text/html"]), false),
      end: "UNAVAILABLE: HTTP status 502",
    },
    {
      name: "a web page",
      feed: (c) => c.onHead(head(200, ["content-type", "text/html"]), false),
      end: "UNKNOWN: HTTP status 200 with content-type text/html",
    },
    {
      name: "a head alone without a status",
      feed: (c) => c.onHead(head(200, GRPC), true),
      end: "UNKNOWN: HTTP status 200 without grpc-status",
    },
    {
      name: "a body without trailers",
      feed: (c) => {
        c.onHead(head(200, GRPC), false);
        c.onData(Buffer.alloc(0), true);
      },
      end: "UNKNOWN: the call ended without grpc-status",
    },
    {
      name: "a status in the head and an empty body",
      feed: (c) => {
        c.onHead(head(200, [...GRPC, "grpc-status", "7", "grpc-message", "no"]), false);
        c.onData(Buffer.alloc(0), true);
      },
      end: "PERMISSION_DENIED: no",
    },
    {
      name: "trailers without a status",
      feed: (c) => {
        c.onHead(head(200, GRPC), false);
        c.onTrailers(["x", "y"]);
      },
      end: "UNKNOWN: the call ended without grpc-status",
    },
    {
      name: "OK inside a message",
      feed: (c) => {
        c.onHead(head(200, GRPC), false);
        c.onData(told("cut").subarray(0, 7), false);
        c.onTrailers(["grpc-status", "0"]);
      },
      end: "INTERNAL: the body ends inside a message",
    },
    {
      name: "a message beyond the bound",
      feed: (c) => {
        c.onHead(head(200, GRPC), false);
        c.onData(told("x".repeat(101)).subarray(0, 5), false);
      },
      end: "RESOURCE_EXHAUSTED: a message of 101 bytes; at most 100 are taken",
    },
    {
      name: "a reset",
      feed: (c) => {
        c.onHead(head(200, GRPC), false);
        c.onReset("cancelled", "ENHANCE_YOUR_CALM");
      },
      end: "CANCELLED: the stream was reset (ENHANCE_YOUR_CALM)",
    },
  ];
  it.each(ends)("ends as it should on $name", ({ feed, end }) => {
    const { call, log } = begin();
    call.onInterim();
    feed(call);
    assert.deepEqual(log, ["reset cancelled", `end ${end}`]);
  });

  it("credits what it has passed on, parts of messages too: a message may be larger than the window", () => {
    const { call, wire } = begin();
    call.onHead(head(200, GRPC), false);
    call.onData(told("x".repeat(50)).subarray(0, 20), false);
    assert.equal(wire.credited, 20);
  });

  it("credits nothing while its own messages wait, and all of it once there is room", () => {
    const { call, log, wire } = begin();
    call.onHead(head(200, GRPC), false);
    wire.room = false;
    assert.equal(call.send(Buffer.from("a")), false);
    call.onData(told("one"), false);
    call.onData(told("two"), false);
    assert.equal(wire.credited, 0);
    call.onWritable();
    assert.equal(wire.credited, 16);
    assert.equal(log.at(-1), "writable");
  });
});
