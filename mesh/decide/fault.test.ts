import assert from "node:assert/strict";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type FaultsSchema, ServiceSchema } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { type CompiledRoute, compileService } from "./compile.ts";
import { decideFaults } from "./fault.ts";

const routeOf = (faults?: MessageInitShape<typeof FaultsSchema>) =>
  compileService(create(ServiceSchema, { routes: [faults === undefined ? {} : { faults }] })).routes[0] as CompiledRoute;

const delay = { durationMs: 2000, fraction: { numerator: 5, denominator: 100 } };
const abort = { status: 503, fraction: { numerator: 1, denominator: 4 } };

describe("faults", () => {
  it("are none where none are asked for", () => {
    assert.deepEqual(decideFaults(routeOf(), 0, 0), { delayMs: 0, abortStatus: 0 });
  });
  it.each([
    [0, 0.9, 2000, 0],
    [0.0499, 0.25, 2000, 0],
    [0.05, 0.9, 0, 0],
    [0.9, 0.2499, 0, 503],
    [0.04, 0.2, 2000, 503],
  ])("with draws %d and %d delay by %d ms and answer %d", (delayDraw, abortDraw, delayMs, abortStatus) => {
    assert.deepEqual(decideFaults(routeOf({ delay, abort }), delayDraw, abortDraw), { delayMs, abortStatus });
  });
  it("hit every request when the fraction is 1, or absent", () => {
    const all = { abort: { status: 418, fraction: { numerator: 100, denominator: 100 } }, delay: { durationMs: 1 } };
    assert.deepEqual(decideFaults(routeOf(all), 1 - 2 ** -53, 1 - 2 ** -53), { delayMs: 1, abortStatus: 418 });
  });
  it("hit no request when numerator or denominator is 0", () => {
    assert.equal(routeOf({ delay: { durationMs: 1, fraction: { numerator: 0, denominator: 100 } } }).faults, null);
    assert.equal(routeOf({ delay: { durationMs: 1, fraction: { numerator: 1, denominator: 0 } } }).faults, null);
  });
  it("answer with final statuses only", () => {
    assert.equal(routeOf({ abort: { status: 101 } }).faults, null);
  });
});
