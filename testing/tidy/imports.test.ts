import assert from "node:assert/strict";
import { BUNDLES, bundle } from "../../build.ts";
import { type Edge, graphOf, violations } from "./graph.ts";
import { isTestCode, repositoryFiles, textOf } from "./sources.ts";

/** Production code of every room. Tests may reach across rooms; what they may not is below. */
const files = repositoryFiles().filter((file) => file.endsWith(".ts"));
const everything = graphOf(new Map(files.map((file) => [file, textOf(file)])));
const production = new Map([...everything].filter(([file]) => !isTestCode(file)));

/** Everything in the repository that lies in a room: has a slash, and is no package. */
const ANY_ROOM = /^(?!@|node:)[^/]+\/.+\.ts$/;

/** A room may reach itself and what is named; all other rooms are a violation. */
function only(room: string, may: string, why: string): Edge & { readonly name: string } {
  return {
    name: `${room} reaches ${may === "" ? "no other room" : may.replaceAll("|", ", ")} only`,
    from: new RegExp(`^${room}/`),
    to: ANY_ROOM,
    except: new RegExp(`^(${room}${may === "" ? "" : `|${may}`})/`),
    why,
  };
}

const PURE = /^(mesh\/|proxy\/protocol\/|proxy\/resilience\/|ca\/prepare\.ts$)/;
const SIDECAR = /^(proxy\/|cli\/proxy-main\.ts$)/;

const EDGES: readonly (Edge & { readonly name: string })[] = [
  only("api", "", "every part and the browser share the vocabulary: it must not drag a part along"),
  only("mesh", "api", "the core decides from values; what it would import from a shell it could also do"),
  only("runtime", "api", "every binary carries it"),
  only("ca", "api|runtime", "what signs must be readable on its own"),
  {
    ...only(
      "operator",
      "mesh|ca|runtime|api",
      "it takes its resources through api/store.ts, so that one operator serves a cluster and one machine",
    ),
    from: /^operator\/(?!kube\/)/,
  },
  only("operator/kube", "operator|kube|mesh|ca|runtime|api", "the operator's part for a cluster puts it together with the API server"),
  only("proxy", "mesh/decide|runtime|api", "a sidecar must start and serve with everything else down, and its bundle stays small"),
  only("kube", "api|runtime", "it speaks to the API server for everybody and knows nobody's meaning"),
  only(
    "injector",
    "mesh|kube|runtime|api",
    "what every pod's creation goes through must be readable on its own, and signs for no workload",
  ),
  only("crds", "api", "the definitions say what the schemas say and nothing else"),
  only("docs", "mesh|api", "the pages are generated from the vocabulary, and from what plan says of it"),
  {
    name: "api names no module of Node's",
    from: /^api\//,
    to: /^node:/,
    why: "the dashboard bundles it for the browser; a type must not open a file",
  },
  {
    name: "pure rooms reach no socket, timer or log",
    from: PURE,
    to: /^node:(net|tls|timers|http|https|http2|dns|dgram|fs|child_process|worker_threads)$|^runtime\/(logger|clock)\.ts$/,
    why: "a pure room: the same input must give the same output",
  },
  {
    name: "the sidecar does not speak to the API server",
    from: SIDECAR,
    to: /^(kube|operator|injector)\/|^@kubernetes\//,
    why: "a sidecar must start and serve with the API server down",
  },
  {
    name: "standalone knows no Kubernetes client",
    from: /^standalone\//,
    to: /^kube\/|^@kubernetes\//,
    why: "the same mesh runs on one machine without Kubernetes",
  },
  {
    name: "sockets stay in proxy/shell",
    from: /^(?!proxy\/shell\/|proxy\/main\.ts$|cli\/).+\.ts$/,
    to: /^proxy\/shell\//,
    why: "sockets at the edge: what decides is tested without a port",
  },
  {
    name: "mesh/plan and mesh/decide know each other through documents only",
    from: /^mesh\/decide\//,
    to: /^mesh\/plan\//,
    why: "the proxy carries decide and must not carry plan",
  },
  {
    name: "examples are programs of their users",
    from: /^examples\//,
    to: ANY_ROOM,
    except: /^examples\//,
    why: "an example must show what a user can write, without Weft's own modules",
  },
];

describe("imports between rooms", () => {
  for (const edge of EDGES) {
    it(`are as agreed: ${edge.name}, because ${edge.why}`, () => {
      assert.deepEqual(violations(production, edge), []);
    });
  }

  it("are each about files that exist, so that a renamed room does not switch its rule off", () => {
    const idle = EDGES.filter((edge) => !files.some((file) => edge.from.test(file))).map((edge) => edge.name);
    assert.deepEqual(idle, []);
  });

  it("name files that exist", () => {
    const known = new Set(files);
    const broken = [...everything].flatMap(([file, nodes]) =>
      nodes.filter((node) => node.endsWith(".ts") && !known.has(node)).map((node) => `${file} imports ${node}, which is not there`),
    );
    assert.deepEqual(broken, []);
  });

  it("never lead from production code to test code, because test help is no production code", () => {
    const found = [...production].flatMap(([file, nodes]) => nodes.filter(isTestCode).map((node) => `${file} → ${node}`));
    assert.deepEqual(found, []);
  });

  it("lead to the crds' stand-in for the API server from tests only, because it carries development dependencies", () => {
    const found = [...production].flatMap(([file, nodes]) => nodes.filter((node) => node === "crds/apiserver.ts").map(() => file));
    assert.deepEqual(found, []);
  });
});

describe("the sidecar's bundle", () => {
  const FORBIDDEN: readonly { readonly what: RegExp; readonly why: string }[] = [
    { what: /node_modules\/@kubernetes\//, why: "83 MB installed; a sidecar never speaks to the API server" },
    { what: /node_modules\/(@peculiar|reflect-metadata|asn1js|pvtsutils)/, why: "the CA's; a sidecar checks certificates with Node's own" },
    { what: /node_modules\/prom-client\//, why: "hashes labels on each observation and holds 8 MB" },
    { what: /node_modules\/(typebox|yaml|commander|ajv)\//, why: "schemas, YAML and the command line are for those who read resources" },
    { what: /node_modules\/@connectrpc\//, why: "a second HTTP/2 engine in each sidecar; its gRPC rides on proxy/protocol/http2" },
    {
      what: /^(api\/resources\/(?!gep|kube)|mesh\/plan|operator|standalone|ca)\//,
      why: "many sidecars run on one machine: each carries only what it uses",
    },
  ];

  /** Not in the bundle itself, but loading it costs memory too. */
  const FORBIDDEN_OF_NODE = /^(node:)?http2$/;

  it("carries none of what only the other parts need", async () => {
    const sidecar = BUNDLES.find((one) => one.name === "proxy.js");
    assert.ok(sidecar);
    const { metafile } = await bundle(sidecar);
    const loaded = Object.values(metafile.outputs).flatMap((output) => output.imports.map(({ path }) => path));
    assert.ok(loaded.includes("node:tls"));
    assert.deepEqual(
      loaded.filter((name) => FORBIDDEN_OF_NODE.test(name)),
      [],
    );
    const carried = Object.values(metafile.outputs).flatMap((output) =>
      Object.entries(output.inputs)
        .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
        .map(([file]) => file),
    );
    assert.ok(carried.includes("cli/proxy-main.ts"));
    assert.deepEqual(
      FORBIDDEN.flatMap(({ what, why }) => carried.filter((file) => what.test(file)).map((file) => `${file}: ${why}`)),
      [],
    );
  });
});
