import assert from "node:assert/strict";
import type { RequestHead, ResponseHead } from "../stream.ts";
import { requestFraming, responseFraming } from "./framing.ts";

const request = (method: string, contentLength: number): RequestHead => ({
  method,
  target: "/",
  authority: "a",
  version: 11,
  fields: [],
  contentLength,
});
const response = (status: number, contentLength: number): ResponseHead => ({ status, reason: "", version: 11, fields: [], contentLength });

describe("the framing of a request", () => {
  it.each([
    ["GET", -1, true, "none", -1, "a GET without body says nothing"],
    ["GET", 0, true, "none", 0, "what was said is repeated"],
    ["POST", -1, true, "none", 0, "a POST without body says so, or some servers answer 411"],
    ["POST", 7, true, "none", 0, "a length whose body will not come is not promised"],
    ["POST", 7, false, "length", 7, "a declared length is kept"],
    ["POST", -1, false, "chunked", -1, "an unknown length is chunked"],
    ["DELETE", -1, false, "chunked", -1, "whatever the method"],
  ] as const)("%s, length %d, end %s: %s %d, because %s", (method, contentLength, end, kind, length, _why) => {
    assert.deepEqual(requestFraming(request(method, contentLength), end), { kind, length });
  });
});

describe("the framing of a response", () => {
  it.each([
    [200, 7, false, "GET", 11, "length", 7],
    [200, -1, false, "GET", 11, "chunked", -1],
    [200, -1, false, "GET", 10, "close", -1],
    [200, -1, true, "GET", 10, "none", 0],
    [200, 7, true, "GET", 11, "none", 0],
    [200, 7, true, "HEAD", 11, "none", 7],
    [200, -1, true, "HEAD", 11, "none", -1],
    [304, 7, true, "GET", 11, "none", 7],
    [304, -1, true, "GET", 11, "none", -1],
    [204, 0, true, "GET", 11, "none", -1],
    [204, 7, false, "GET", 11, "none", -1],
    [103, 7, true, "GET", 11, "none", -1],
  ] as const)("%d, length %d, end %s, to %s of HTTP %d: %s %d", (status, contentLength, end, method, version, kind, length) => {
    assert.deepEqual(responseFraming(response(status, contentLength), end, method, version), { kind, length });
  });
});
