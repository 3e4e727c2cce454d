import assert from "node:assert/strict";
import { createServer } from "node:net";
import { create } from "@bufbuild/protobuf";
import type { ConnectRouter } from "@connectrpc/connect";
import {
  type DiscoveryRequest,
  DiscoveryRequestSchema,
  type DiscoveryResponse,
  DiscoveryService,
} from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { type Authority, makeAuthority } from "../identity/testdata/authority.ts";
import { CALLER, startOperator, type TestOperator } from "../identity/testdata/operator.ts";
import { grpcDiscoveryTransport } from "./grpc-transport.ts";
import { goodbye, lineOf, told, WEB_ID, workload } from "./testdata/wire.ts";

const OPERATOR_ID = "spiffe://cluster.local/ns/weft-system/sa/weft-operator";

let authority: Authority;
let foreign: Authority;
let operator: TestOperator | null = null;
beforeAll(async () => {
  authority = await makeAuthority();
  foreign = await makeAuthority("CN=foreign");
});
afterEach(async () => {
  await operator?.close();
  operator = null;
});

/** Answers each request with `answer`, and tells who asked. */
async function serve(
  id: string,
  by: Authority,
  answer: (request: DiscoveryRequest) => DiscoveryResponse[],
  callers: (string | null)[] = [],
): Promise<string> {
  const leaf = await by.issue({ uris: [id] });
  const routes = (router: ConnectRouter): void => {
    router.service(DiscoveryService, {
      async *stream(requests, context) {
        callers.push(context.values.get(CALLER));
        for await (const request of requests) yield* answer(request);
      },
    });
  };
  operator = await startOperator({ key: leaf.keyPem, cert: leaf.pem, ca: authority.rootPem }, routes);
  return operator.address;
}

async function dial(address: string) {
  const own = await authority.issue({ uris: [WEB_ID] });
  const identity = { keyPem: own.keyPem, chainPem: own.pem, rootsPem: authority.rootPem };
  const transport = grpcDiscoveryTransport({ address, trustDomain: "cluster.local", identity: () => identity });
  const heard: DiscoveryResponse[] = [];
  const first = Promise.withResolvers<DiscoveryResponse>();
  const closed = Promise.withResolvers<string>();
  const stream = transport.open({
    onMessage: (response) => {
      heard.push(response);
      first.resolve(response);
    },
    onClosed: (reason) => closed.resolve(reason),
  });
  return { stream, heard, first: first.promise, closed: closed.promise };
}

function hello(pod: string): DiscoveryRequest {
  return create(DiscoveryRequestSchema, { message: { case: "hello", value: { pod } } });
}

describe("a discovery stream over gRPC", () => {
  it("carries requests and responses under our identity", async () => {
    const seen: string[] = [];
    const callers: (string | null)[] = [];
    const answer = (request: DiscoveryRequest): DiscoveryResponse[] => {
      seen.push(lineOf(request));
      return seen.length === 2 ? [told(workload()), goodbye()] : [];
    };
    const d = await dial(await serve(OPERATOR_ID, authority, answer, callers));
    d.stream.send(hello("a"));
    d.stream.send(hello("b"));
    assert.deepEqual((await d.first).message.case, "document");
    d.stream.close();
    assert.deepEqual(seen, ["hello a", "hello b"]);
    assert.deepEqual(callers, [WEB_ID]);
  });

  it("tells that the operator was killed", async () => {
    const d = await dial(await serve(OPERATOR_ID, authority, () => [told(workload())]));
    d.stream.send(hello("a"));
    await d.first;
    operator!.cut();
    assert.notEqual(await d.closed, "");
  });

  it("tells that nobody listens", async () => {
    const address = await serve(OPERATOR_ID, authority, () => []);
    await operator!.close();
    operator = null;
    assert.match(await (await dial(address)).closed, /ECONNREFUSED/);
  });

  const impostors: { name: string; id: string; by: () => Authority; reason: RegExp }[] = [
    {
      name: "a workload of the same CA",
      id: WEB_ID,
      by: () => authority,
      reason: /the server is spiffe:\/\/cluster.local\/ns\/shop\/sa\/web, not/,
    },
    { name: "an operator of a foreign CA", id: OPERATOR_ID, by: () => foreign, reason: /verify|self.signed|issuer/i },
  ];
  it.each(impostors)("says nothing to $name", async ({ id, by, reason }) => {
    const seen: DiscoveryRequest[] = [];
    const answer = (request: DiscoveryRequest): DiscoveryResponse[] => {
      seen.push(request);
      return [];
    };
    const d = await dial(await serve(id, by(), answer));
    d.stream.send(hello("a"));
    assert.match(await d.closed, reason);
    assert.equal(seen.length, 0);
  });

  it("closes its connection when closed, also one that is still being made, and tells nothing then", async () => {
    const ended = Promise.withResolvers<void>();
    const accepted = Promise.withResolvers<void>();
    const silent = createServer((socket) => {
      socket.on("close", () => ended.resolve());
      socket.resume();
      accepted.resolve();
    });
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const d = await dial(`127.0.0.1:${(silent.address() as { port: number }).port}`);
    await accepted.promise;
    d.stream.close();
    await ended.promise;
    await new Promise((resolve) => silent.close(resolve));
    assert.equal(d.heard.length, 0);
  });

  it("fails without an identity, but not before open has returned", async () => {
    const transport = grpcDiscoveryTransport({ address: "127.0.0.1:1", trustDomain: "cluster.local", identity: () => null });
    const closed = Promise.withResolvers<string>();
    let returned = false;
    transport.open({ onMessage: () => {}, onClosed: (reason) => closed.resolve(`${returned} ${reason}`) });
    returned = true;
    assert.equal(await closed.promise, "true no identity yet");
  });
});
