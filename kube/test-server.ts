import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { parse } from "yaml";
import { Relay } from "#testing/apiserver/relay.ts";
import { type ApiServer, startApiServer } from "#testing/apiserver/server.ts";
import type { KubeClient } from "./client.ts";
import { record } from "./kube-error.ts";
import { type ClusterAccess, kubeconfigAccess } from "./kubeconfig.ts";
import { clientOf, until } from "./test-world.ts";

const DEFINITIONS = path.resolve(import.meta.dirname, "../crds");

/** A real API server with Weft's kinds installed, and a client to it. */
export interface TestServer {
  readonly server: ApiServer;
  readonly access: ClusterAccess;
  readonly client: KubeClient;
  readonly relay: Relay;
  /** Access of the same user through the relay. */
  readonly through: ClusterAccess;
  stop(): Promise<void>;
}

/** etcd serves ConfigMaps without the server's cache, so that a compaction is seen. */
export async function startTestServer(namespaces: readonly string[]): Promise<TestServer> {
  const server = await startApiServer({ uncached: ["configmaps"] });
  const relay = await Relay.start(server.port);
  const access = kubeconfigAccess([{ path: server.kubeconfig, text: readFileSync(server.kubeconfig, "utf8") }]);
  const client = clientOf(access);
  const stop = async (): Promise<void> => {
    client.close();
    await relay.close();
    await server.stop();
  };
  try {
    for (const name of namespaces) await client.request({ method: "POST", path: "/api/v1/namespaces", body: { metadata: { name } } });
    await installDefinitions(client);
  } catch (error) {
    await stop();
    throw error;
  }
  return { server, access, client, relay, through: { ...access, server: `https://127.0.0.1:${relay.port}` }, stop };
}

/** Names of the definitions, as they are installed. */
export async function installDefinitions(client: KubeClient): Promise<string[]> {
  const collection = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
  const names: string[] = [];
  for (const file of readdirSync(DEFINITIONS).filter((name) => name.endsWith(".yaml"))) {
    const body = parse(readFileSync(path.join(DEFINITIONS, file), "utf8")) as { metadata: { name: string } };
    await client.request({ method: "POST", path: collection, query: { fieldValidation: "Strict" }, body });
    names.push(body.metadata.name);
  }
  for (const name of names) {
    await until(`${name} is established`, async () => {
      const { body } = await client.request({ method: "GET", path: `${collection}/${name}` });
      const conditions = record(record(body)["status"])["conditions"];
      return (
        Array.isArray(conditions) && conditions.some((one) => record(one)["type"] === "Established" && record(one)["status"] === "True")
      );
    });
  }
  return names;
}
