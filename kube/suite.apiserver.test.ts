import type { KubeClient } from "./client.ts";
import { type TestServer, startTestServer } from "./test-server.ts";
import { kubeSuite } from "./test-suite.ts";
import { clientOf } from "./test-world.ts";

let test: TestServer;
let through: KubeClient;
beforeAll(async () => {
  test = await startTestServer(["suite"]);
  through = clientOf(test.through);
});
afterAll(async () => {
  through?.close();
  await test?.stop();
});

// The same on the fake: suite.test.ts.
kubeSuite("a real API server", {
  client: () => test.client,
  through: () => through,
  relay: () => test.relay,
  namespace: () => "suite",
  compact: () => test.server.compact(),
});
