import assert from "node:assert/strict";
import type { KubeObject } from "#api/resources/kube.ts";
import type { ObjectRef } from "#api/store.ts";
import { SystemClock } from "#runtime/clock.ts";
import type { Relay } from "#testing/apiserver/relay.ts";
import { apply } from "./apply.ts";
import type { KubeClient } from "./client.ts";
import { Election } from "./lease.ts";
import { Reflector } from "./reflector.ts";
import { collectionPath, CONFIG_MAPS, LEASES, objectPath, TRAFFIC_POLICIES } from "./resource.ts";
import { KubeStatusWriter } from "./status.ts";
import { contentOf, kubeMetrics, Listener, metric, quietLogger, until } from "./test-world.ts";

const NOBODY = "00000000-0000-0000-0000-000000000000";

/** An API server to run the suite on. */
export interface Server {
  readonly client: () => KubeClient;
  /** The same through a relay, which is the network between a reflector and its server. */
  readonly through: () => KubeClient;
  readonly relay: () => Relay;
  /** Of its own for this run; exists. */
  readonly namespace: () => string;
  /** Makes every revision of ConfigMaps up to now too old. */
  readonly compact: () => Promise<void>;
}

/** What both API servers, the fake and the real, must do alike, and what ours does with either. */
export function kubeSuite(name: string, server: Server): void {
  const clock = new SystemClock();
  const send = (method: "POST" | "PUT" | "DELETE", path: string, body?: unknown) =>
    server.client().request({ method, path, ...(body === undefined ? {} : { body }) });
  const configMap = (of: string, data: Record<string, string> = {}, metadata: object = {}): KubeObject & { data: object } => ({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: of, namespace: server.namespace(), ...metadata },
    data,
  });
  const create = (of: string) => send("POST", collectionPath(CONFIG_MAPS, server.namespace()), configMap(of));
  const remove = (of: string) => send("DELETE", objectPath(CONFIG_MAPS, server.namespace(), of));
  const set = (object: KubeObject, manager: string, force = false) => apply(server.client(), object, { fieldManager: manager, force });
  /** A list as it is now, asked for afresh. */
  const fresh = async (): Promise<string[]> => {
    const { body } = await server.client().request({ method: "GET", path: collectionPath(CONFIG_MAPS, server.namespace()) });
    return contentOf((body as { items: KubeObject[] }).items);
  };
  const reflect = (listener: Listener, metrics = kubeMetrics()) =>
    new Reflector({
      client: server.through(),
      resource: CONFIG_MAPS,
      namespace: server.namespace(),
      handlers: listener,
      clock,
      random: () => 0,
      logger: quietLogger(),
      metrics,
    });
  const converges = (listener: Listener) =>
    until("the copy equals a fresh list", async () => JSON.stringify(listener.content()) === JSON.stringify(await fresh()));

  describe(`a reflector on ${name}`, () => {
    it("has what a fresh list has, after changes, lost connections and compactions", async () => {
      const listener = new Listener();
      const metrics = kubeMetrics();
      const reflector = reflect(listener, metrics);
      await create("one");
      reflector.start();
      await until("synced", () => reflector.isSynced());
      for (let round = 0; round < 4; round++) {
        await create(`early-${round}`);
        await converges(listener);
        server.relay().kill();
        await create(`reset-${round}`);
        await converges(listener);
        // Away long enough for what it saw last to be forgotten.
        server.relay().cut();
        await create(`away-${round}`);
        await remove(`early-${round}`);
        await server.compact();
        server.relay().restore();
        await converges(listener);
      }
      reflector.stop();
      assert.equal(listener.syncs, 1);
      assert.ok((await metric(metrics, 'weft_kube_watches_total{resource="configmaps",outcome="expired"}')) >= 4);
    });

    it("reads lists of several pages", async () => {
      for (let i = 0; i < 620; i += 20) await Promise.all(Array.from({ length: 20 }, (_, j) => create(`page-${i + j}`)));
      const listener = new Listener();
      const metrics = kubeMetrics();
      const reflector = reflect(listener, metrics);
      reflector.start();
      await until("synced", () => reflector.isSynced());
      await converges(listener);
      reflector.stop();
      assert.ok((await metric(metrics, 'weft_kube_lists_total{resource="configmaps",outcome="ok"}')) >= 2);
    });

    it("tells of both when a name is deleted and taken again while it does not look", async () => {
      const listener = new Listener();
      const reflector = reflect(listener);
      await create("twice");
      reflector.start();
      await until("synced", () => reflector.isSynced());
      reflector.stop();
      await remove("twice");
      await create("twice");
      await server.compact();
      listener.told.length = 0;
      reflector.start();
      await converges(listener);
      reflector.stop();
      const told = listener.told.filter((one) => one.includes("/twice ")).map((one) => one.split(" "));
      assert.deepEqual(
        told.map(([type]) => type),
        ["deleted", "applied"],
      );
      assert.notEqual(told[0]?.[2], told[1]?.[2]);
    });

    it("never shows what only the server's own bookkeeping needs", async () => {
      await set(configMap("kept", { a: "1" }), "somebody");
      const listener = new Listener();
      const reflector = reflect(listener);
      reflector.start();
      await until("synced", () => reflector.isSynced());
      reflector.stop();
      assert.deepEqual(
        [...listener.held.values()].filter(({ metadata }) => "managedFields" in metadata),
        [],
      );
    });
  });

  describe(`server-side apply on ${name}`, () => {
    it("creates, changes, and removes what it sends no more", async () => {
      const first = await set(configMap("applied", { a: "1", b: "1" }), "weft");
      const second = await set(configMap("applied", { a: "2" }), "weft");
      assert.deepEqual(
        [first, second].map(
          (one) => one.outcome === "applied" && { created: one.created, data: (one.object as unknown as { data: object }).data },
        ),
        [
          { created: true, data: { a: "1", b: "1" } },
          { created: false, data: { a: "2" } },
        ],
      );
    });

    it("says whose field is in the way, and takes it when told to", async () => {
      await set(configMap("shared", { a: "1" }), "first");
      const conflict = await set(configMap("shared", { a: "2" }), "second");
      assert.equal(conflict.outcome, "conflict");
      assert.deepEqual(conflict.outcome === "conflict" && conflict.conflicts.map(({ field }) => field), [".data.a"]);
      assert.match(conflict.outcome === "conflict" ? (conflict.conflicts[0]?.message ?? "") : "", /conflict with "first"/);
      assert.equal((await set(configMap("shared", { a: "2" }), "second", true)).outcome, "applied");
    });

    it("leaves an object alone that another has taken the name of, or that has changed since", async () => {
      const first = await set(configMap("other", { a: "1" }), "weft");
      assert.equal((await set(configMap("other", { a: "2" }, { uid: NOBODY }), "weft")).outcome, "changed");
      assert.equal((await set(configMap("never", { a: "2" }, { uid: NOBODY }), "weft")).outcome, "changed");
      const { resourceVersion } = (first as { object: KubeObject }).object.metadata;
      assert.equal((await set(configMap("other", { a: "2" }, { resourceVersion }), "weft")).outcome, "applied");
      assert.equal((await set(configMap("other", { a: "3" }, { resourceVersion }), "weft")).outcome, "changed");
    });
  });

  describe(`the status writer on ${name}`, () => {
    const policies = () => collectionPath(TRAFFIC_POLICIES, server.namespace());
    const policy = (of: string) => ({
      apiVersion: "weft.dev/v1alpha1",
      kind: "TrafficPolicy",
      metadata: { name: of, namespace: server.namespace() },
      spec: { targetRefs: [{ group: "", kind: "Service", name: of }] },
    });
    const status = (reason: string) => ({
      ancestors: [
        {
          ancestorRef: { group: "", kind: "Service", name: "x" },
          controllerName: "weft.dev/operator",
          conditions: [
            { type: "Accepted", status: "True", reason, message: "", observedGeneration: 1, lastTransitionTime: "2026-01-01T00:00:00Z" },
          ],
        },
      ],
    });
    const stored = async (of: string) => {
      const { body } = await server.client().request({ method: "GET", path: objectPath(TRAFFIC_POLICIES, server.namespace(), of) });
      return body as KubeObject;
    };

    const made = async (of: string): Promise<KubeObject> => (await send("POST", policies(), policy(of))).body as KubeObject;
    const refOf = ({ metadata }: KubeObject): ObjectRef => ({
      apiVersion: "weft.dev/v1alpha1",
      kind: "TrafficPolicy",
      namespace: server.namespace(),
      name: metadata.name,
      uid: metadata.uid ?? "",
    });
    const writer = (seen: KubeObject | null) => new KubeStatusWriter(server.client(), () => seen);

    it("writes the newest, and nothing else of the object", async () => {
      const object = await made("written");
      await writer(object).write(refOf(object), status("First"));
      const after = await stored("written");
      await writer(after).write(refOf(object), status("Second"));
      const { status: said, spec, metadata } = await stored("written");
      assert.deepEqual([said, spec, metadata.generation], [status("Second"), object.spec, object.metadata.generation]);
    });

    it("rejects when the object is not the one that was seen, so that nothing is said of what nobody planned", async () => {
      const object = await made("edited");
      await writer(object).write(refOf(object), status("First"));
      await assert.rejects(writer(object).write(refOf(object), status("Second")), /not taken/);
      assert.deepEqual((await stored("edited")).status, status("First"));
    });

    it("says nothing of an object that is gone, or whose name another has", async () => {
      const object = await made("gone");
      await send("DELETE", objectPath(TRAFFIC_POLICIES, server.namespace(), "gone"));
      await writer(object).write(refOf(object), status("First"));
      const successor = await made("gone");
      // Seen by now; and not seen yet.
      await writer(successor).write(refOf(object), status("First"));
      await assert.rejects(writer(object).write(refOf(object), status("First")));
      assert.equal((await stored("gone")).status, undefined);
    });

    it("leaves the statuses of others' kinds to them", async () => {
      const ref = { apiVersion: "v1", kind: "Service", namespace: server.namespace(), name: "x", uid: "u" };
      assert.equal(await writer(null).write(ref, {}), undefined);
    });
  });

  describe(`two candidates on ${name}`, () => {
    const TIMES = { leaseMs: 3000, renewDeadlineMs: 2000, retryMs: 100 };
    const candidate = (identity: string, told: string[]) =>
      new Election({
        client: server.client(),
        namespace: server.namespace(),
        name: "leader",
        identity,
        clock,
        random: () => 0.5,
        logger: quietLogger(),
        metrics: kubeMetrics(),
        onLeading: (leading) => told.push(`${identity} ${leading ? "leads" : "follows"}`),
        times: TIMES,
      });

    it("never lead together; the second takes over at once when the first gives up", async () => {
      const told: string[] = [];
      const [a, b] = [candidate("a", told), candidate("b", told)];
      a.start();
      await until("a leads", () => a.leads());
      b.start();
      const { body } = await server.client().request({ method: "GET", path: objectPath(LEASES, server.namespace(), "leader") });
      assert.equal((body as { spec: { holderIdentity: string } }).spec.holderIdentity, "a");
      assert.equal(b.leads(), false);
      const stopped = a.stop();
      await until("b leads", () => b.leads(), 2500);
      await stopped;
      await b.stop();
      assert.deepEqual(told, ["a leads", "a follows", "b leads", "b follows"]);
    });
  });
}
