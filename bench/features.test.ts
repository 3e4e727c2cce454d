import assert from "node:assert/strict";
import { featureCosts, PARTS } from "./features.ts";
import { measuredOf } from "./results.ts";
import { VARIANTS } from "./rows.ts";

const variant = (name: string, us: number) => measuredOf(name, "cpuUsPerRequest", [us], []);

describe("the costs of features", () => {
  it("are differences between variants, and shares of the profile", () => {
    const measured = [...variant(VARIANTS.plainBytes, 10), ...variant(VARIANTS.plainHttp, 18), ...variant(VARIANTS.plainPolicy, 20)];
    const costs = featureCosts(measured, [{ part: PARTS.metrics, share: 0.05 }]);
    assert.deepEqual(
      costs.map(({ feature, us }) => [feature.split(":")[0], us]),
      [
        ["forwarding bytes through one sidecar", 10],
        ["HTTP", 8],
        ["… of that metrics", 1],
        ["policy", 2],
      ],
    );
  });

  it("leave out what was not measured, rather than call it zero", () => assert.deepEqual(featureCosts([], []), []));
});
