import { Relay } from "#testing/apiserver/relay.ts";
import type { KubeClient } from "./client.ts";
import { FakeApi } from "./test-fake-api.ts";
import { kubeSuite } from "./test-suite.ts";
import { accessTo, clientOf } from "./test-world.ts";

let fake: FakeApi;
let relay: Relay;
let client: KubeClient;
let through: KubeClient;

beforeAll(async () => {
  fake = await FakeApi.start();
  relay = await Relay.start(Number(new URL(fake.url).port));
  client = clientOf(accessTo(fake.url));
  through = clientOf(accessTo(`http://127.0.0.1:${relay.port}`));
});
afterAll(async () => {
  for (const one of [client, through]) one.close();
  await relay.close();
  await fake.close();
});

// The same on a real API server: suite.apiserver.test.ts.
kubeSuite("the fake API server", {
  client: () => client,
  through: () => through,
  relay: () => relay,
  namespace: () => "suite",
  compact: async () => fake.compact(),
});
