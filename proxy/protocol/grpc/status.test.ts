import assert from "node:assert/strict";
import {
  CODE_NAMES,
  decodeMessage,
  isGrpc,
  statusOfFields,
  statusOfHttp,
  statusOfReset,
  timeoutValue,
  UNAUTHENTICATED,
  UNAVAILABLE,
  UNKNOWN,
} from "./status.ts";

describe("a grpc-status", () => {
  it("is absent where the fields have none", () => {
    assert.equal(statusOfFields(["content-type", "application/grpc", "grpc-message", "no"]), null);
  });

  it("is read with its message and the fields beside it", () => {
    const fields = ["grpc-status", "16", "grpc-message", "WEFT_TOKEN_REFUSED%3A no", "weft-code", "WEFT_TOKEN_REFUSED"];
    assert.deepEqual(statusOfFields(fields), { code: UNAUTHENTICATED, message: "WEFT_TOKEN_REFUSED: no", fromPeer: true, fields });
  });

  it("ends with 16, UNAUTHENTICATED", () => {
    assert.equal(CODE_NAMES.length, 17);
    assert.equal(CODE_NAMES[UNAUTHENTICATED], "UNAUTHENTICATED");
    assert.equal(CODE_NAMES[UNAVAILABLE], "UNAVAILABLE");
  });

  it.each(["17", "99", "-1", "00", "0x0", " 0", "", "1.0", "OK", "999999999999"])("is UNKNOWN, and never OK, when it says %j", (said) => {
    assert.equal(statusOfFields(["grpc-status", said])?.code, UNKNOWN);
  });
});

describe("a grpc-message", () => {
  const cases: { wire: string; text: string }[] = [
    { wire: "plain, with spaces", text: "plain, with spaces" },
    { wire: "100%25", text: "100%" },
    { wire: "caf%C3%a9 %e2%82%ac", text: "café €" },
    { wire: "line%0Afeed", text: "line\nfeed" },
    { wire: "raw caf\xc3\xa9", text: "raw café" },
    { wire: "50% of %zz and %2", text: "50% of %zz and %2" },
    { wire: "%ff%fe", text: "\ufffd\ufffd" },
    { wire: "", text: "" },
  ];
  it.each(cases)("that reads $wire says $text", ({ wire, text }) => {
    assert.equal(decodeMessage(wire), text);
  });
});

describe("an answer that is none of gRPC's", () => {
  const cases: [number, string][] = [
    [200, "UNKNOWN"],
    [204, "UNKNOWN"],
    [302, "UNKNOWN"],
    [400, "INTERNAL"],
    [401, "UNAUTHENTICATED"],
    [403, "PERMISSION_DENIED"],
    [404, "UNIMPLEMENTED"],
    [429, "UNAVAILABLE"],
    [500, "UNKNOWN"],
    [502, "UNAVAILABLE"],
    [503, "UNAVAILABLE"],
    [504, "UNAVAILABLE"],
  ];
  it.each(cases)("with HTTP status %d means %s", (http, name) => {
    const status = statusOfHttp(http, "");
    assert.deepEqual([CODE_NAMES[status.code], status.message, status.fromPeer], [name, `HTTP status ${http}`, false]);
  });

  const types: [string | null, boolean][] = [
    ["application/grpc", true],
    ["application/grpc+proto", true],
    ["Application/gRPC; charset=x", true],
    ["application/grpc-web", false],
    ["application/grpc-web+proto", false],
    ["application/grpc+json", false],
    ["text/html", false],
    [null, false],
  ];
  it.each(types)("is told by its content-type: %s is gRPC's: %s", (type, is) => {
    assert.equal(isGrpc(type), is);
  });
});

describe("a stream that ended before its trailers", () => {
  it("means UNAVAILABLE when the connection went or the server did not take it, and keeps the detail", () => {
    assert.deepEqual(statusOfReset("closed", "read ECONNRESET"), {
      code: UNAVAILABLE,
      message: "read ECONNRESET",
      fromPeer: false,
      fields: [],
    });
    assert.equal(statusOfReset("refused", "GOAWAY").code, UNAVAILABLE);
  });

  it("means CANCELLED when the server reset it, INTERNAL when it broke the protocol", () => {
    assert.equal(CODE_NAMES[statusOfReset("cancelled", "INTERNAL_ERROR").code], "CANCELLED");
    assert.equal(CODE_NAMES[statusOfReset("protocol", "").code], "INTERNAL");
  });
});

describe("a grpc-timeout", () => {
  const cases: [number, string][] = [
    [0, "1m"],
    [0.2, "1m"],
    [10_000, "10000m"],
    [99_999_999, "99999999m"],
    [100_000_000, "100000S"],
    [Number.MAX_SAFE_INTEGER, "99999999S"],
  ];
  it.each(cases)("of %d ms is %s", (ms, value) => {
    assert.equal(timeoutValue(ms), value);
  });
});
