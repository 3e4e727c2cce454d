import assert from "node:assert/strict";
import { ANSWERING, ENDPOINTS, IN_USE, largeServices, SERVICES } from "./large-mesh.ts";

const services = largeServices(27_080);

describe("the large mesh", () => {
  it("has a thousand Services of ten endpoints", () => {
    assert.equal(services.length, SERVICES);
    assert.ok(services.every((s) => s.endpoints.length === ENDPOINTS));
  });

  it("has no address twice among those that nobody calls", () => {
    const idle = services.slice(IN_USE).flatMap((s) => s.endpoints.map((e) => e.host));
    assert.equal(new Set(idle).size, (SERVICES - IN_USE) * ENDPOINTS);
  });

  it("leads the Services in use to the backend, and no other", () => {
    const answering = services.filter((s) => s.endpoints.some((e) => ANSWERING.includes(e.host)));
    assert.deepEqual(answering, services.slice(0, IN_USE));
  });
});
