import assert from "node:assert/strict";
import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { ServiceSchema } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { type CompiledRoute, compileService } from "./compile.ts";
import { pickBackend, SplitSequence } from "./split.ts";

function routeOf(weights: number[]): CompiledRoute {
  const document = create(ServiceSchema, {
    clusters: weights.map((_, i) => ({ name: `c${i}` })),
    routes: [{ backends: weights.map((weight, cluster) => ({ cluster, weight })) }],
  });
  return compileService(document).routes[0] as CompiledRoute;
}

function counts(route: CompiledRoute, points: number[]): number[] {
  const out = route.backends.map(() => 0);
  for (const r of points) out[pickBackend(route, r)?.cluster ?? -1]!++;
  return out;
}

const range = (n: number) => Array.from({ length: n }, (_, i) => i);

describe("a split", () => {
  it("gives each backend exactly its weight of evenly spaced points", () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 100 }), { minLength: 1, maxLength: 6 }), (weights) => {
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        assert.deepEqual(
          counts(
            routeOf(weights),
            range(total).map((i) => (i + 0.5) / total),
          ),
          weights,
        );
      }),
      { numRuns: 500, seed: 9010 },
    );
  });
  it("never picks a weight of 0, at either end of the interval", () => {
    const route = routeOf([0, 3, 0, 5, 0]);
    assert.equal(pickBackend(route, 0)?.cluster, 1);
    assert.equal(pickBackend(route, 1 - 2 ** -53)?.cluster, 3);
    // Where r * total rounds up to total.
    assert.equal(pickBackend(route, 1)?.cluster, 3);
  });
  it("is exact for Gateway API's largest weights", () => {
    const route = routeOf(range(16).map(() => 1_000_000));
    assert.equal(pickBackend(route, 1 - 2 ** -53)?.cluster, 15);
    assert.equal(pickBackend(route, 0.5)?.cluster, 8);
  });
  it("is nobody's when there are no backends or all weights are 0", () => {
    assert.equal(pickBackend(routeOf([]), 0.5), null);
    assert.equal(pickBackend(routeOf([0]), 0.5), null);
    assert.equal(pickBackend(routeOf([0, 0]), 0.5), null);
  });
});

describe("the sequence of points", () => {
  const share = (seed: number, n: number, every = 1) => {
    const sequence = new SplitSequence(seed);
    const points = range(n * every).map(() => sequence.next());
    return (
      counts(
        routeOf([90, 10]),
        points.filter((_, i) => i % every === 0),
      )[1]! / n
    );
  };
  it.each([0, 0.1, 0.5, 0.999999])("splits 90/10 within 0.1 points over 5,000 requests, from seed %d", (seed) => {
    assert.ok(Math.abs(share(seed, 5000) - 0.1) < 0.001);
  });
  it("is within 3 points over any hundred in a row", () => {
    assert.deepEqual(
      range(200).filter((i) => Math.abs(share(i / 200, 100) - 0.1) > 0.03),
      [],
    );
  });
  it.each([2, 3, 5, 7, 10])("holds as well for a caller that uses every %d-th point only", (every) => {
    assert.ok(Math.abs(share(0.3, 5000, every) - 0.1) < 0.005);
  });
  it("stays in [0, 1)", () => {
    const sequence = new SplitSequence(0.7);
    assert.ok(
      range(10_000).every(() => {
        const r = sequence.next();
        return r >= 0 && r < 1;
      }),
    );
  });
});
