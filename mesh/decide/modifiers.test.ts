import assert from "node:assert/strict";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { FilterSchema, type HeaderModifierSchema } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { applyFilters } from "./fields.ts";
import { compileModifiers } from "./modifiers.ts";

const request = (value: MessageInitShape<typeof HeaderModifierSchema>) =>
  create(FilterSchema, { filter: { case: "requestHeaderModifier", value } });
const response = (value: MessageInitShape<typeof HeaderModifierSchema>) =>
  create(FilterSchema, { filter: { case: "responseHeaderModifier", value } });

function modified(fields: string[], ...modifiers: MessageInitShape<typeof HeaderModifierSchema>[]): string[] {
  return applyFilters(fields, compileModifiers(modifiers.map(request), "request"));
}

describe("a header modifier", () => {
  it("sets a field in place of all of that name, whatever their case", () => {
    assert.deepEqual(modified(["X-A", "1", "b", "2", "x-a", "3"], { set: [{ name: "x-A", value: "4" }] }), ["b", "2", "x-A", "4"]);
  });
  it("adds a field beside those of that name", () => {
    assert.deepEqual(modified(["x-a", "1"], { add: [{ name: "X-A", value: "2" }] }), ["x-a", "1", "X-A", "2"]);
  });
  it("removes all fields of a name", () => {
    assert.deepEqual(modified(["X-A", "1", "b", "2", "x-a", "3"], { remove: ["x-a"] }), ["b", "2"]);
  });
  it("removes before it sets and adds", () => {
    const all = { remove: ["a", "b"], set: [{ name: "a", value: "2" }], add: [{ name: "b", value: "3" }] };
    assert.deepEqual(modified(["a", "1", "b", "1"], all), ["a", "2", "b", "3"]);
  });
  it("sees what an earlier one did", () => {
    const first = { add: [{ name: "A", value: "1" }] };
    assert.deepEqual(modified([], first, { remove: ["a"] }), []);
    assert.deepEqual(modified([], first, { set: [{ name: "a", value: "2" }] }, { add: [{ name: "a", value: "3" }] }), ["a", "2", "a", "3"]);
  });
  it("acts in its own direction only", () => {
    const filters = [request({ remove: ["a"] }), response({ remove: ["b"] })];
    assert.deepEqual(applyFilters(["a", "1", "b", "2"], compileModifiers(filters, "response")), ["a", "1"]);
  });
  it("writes a value beyond ASCII as UTF-8, without blanks around it", () => {
    assert.deepEqual(modified([], { set: [{ name: "x", value: " é\t" }] }), ["x", "\xc3\xa9"]);
  });
  it.each(
    "host Content-Length transfer-encoding Transfer_Encoding content_length connection keep-alive proxy-connection TE trailer upgrade http2-settings weft-peer WEFT_peer :path :authority".split(
      " ",
    ),
  )("can neither set, add nor remove %s", (name) => {
    const header = { name, value: "v" };
    assert.equal(compileModifiers([request({ set: [header], add: [header], remove: [name] })], "request"), null);
  });
  it.each([
    ["a\r\nb: c", "v"],
    ["a b", "v"],
    ["", "v"],
    ["a", "v\r\nb: c"],
    ["a", "v\nx"],
    ["a", "v\0"],
  ])("never puts in the field %j: %j", (name, value) => {
    assert.deepEqual(modified(["z", "1"], { add: [{ name, value }] }), ["z", "1"]);
  });
  it("costs nothing where there is none", () => {
    const fields = ["a", "1"];
    assert.equal(applyFilters(fields, null), fields);
  });
  it("leaves the given array as it was", () => {
    const fields = ["a", "1"];
    modified(fields, { set: [{ name: "a", value: "2" }] });
    assert.deepEqual(fields, ["a", "1"]);
  });
});
