import assert from "node:assert/strict";
import { decide, type Decision } from "./decide.ts";
import { mesh } from "./patch.ts";
import type { Json } from "./pod.ts";
import { SETTINGS } from "./test-settings.ts";

interface Case {
  readonly name: string;
  /** Default: "shop". */
  readonly namespace?: string;
  /** weft.dev/inject of the namespace. */
  readonly label?: string;
  readonly labels?: Json;
  readonly annotations?: Json;
  readonly spec?: Json;
  readonly says: string;
}

const app = { name: "app", image: "app:1" };
const withUser = (runAsUser: unknown): Json => ({ ...app, securityContext: { runAsUser } });
const adding = (...add: string[]): Json => ({ ...app, securityContext: { capabilities: { add } } });

/** "inject", "skip: <reason>" or "refuse: <code> <path>, …". */
function told(decision: Decision): string {
  if (decision.action === "skip") return `skip: ${decision.reason}`;
  if (decision.action === "inject") return decision.already ? "inject again" : "inject";
  return `refuse: ${decision.problems.map(({ code, path }) => `${code} ${path}`).join(", ")}`;
}

function pod({ labels = {}, annotations = {}, spec = {} }: Pick<Case, "labels" | "annotations" | "spec">): Json {
  return { apiVersion: "v1", kind: "Pod", metadata: { name: "p", labels, annotations }, spec: { containers: [app], ...spec } };
}

const enabled = { "weft.dev/inject": "enabled" };
const disabled = { "weft.dev/inject": "disabled" };

const cases: readonly Case[] = [
  { name: "nobody asks", says: "skip: not-asked" },
  { name: "the namespace asks", label: "enabled", says: "inject" },
  { name: "the pod asks in a namespace that does not", labels: enabled, says: "inject" },
  {
    name: "the pod asks in a namespace that declines, because the pod's word is nearer",
    label: "disabled",
    labels: enabled,
    says: "inject",
  },
  { name: "the pod declines in a namespace that asks", label: "enabled", labels: disabled, says: "skip: disabled" },
  { name: "the namespace declines", label: "disabled", says: "skip: disabled" },
  { name: "the pod declines by annotation, as plan reads it", label: "enabled", annotations: disabled, says: "skip: disabled" },
  {
    name: "the pod's label is misspelt, because silence would leave it in plaintext",
    labels: { "weft.dev/inject": "true" },
    says: "refuse: WEFT_BAD_POD_SETTING metadata.labels[weft.dev/inject]",
  },
  { name: "the namespace's label is misspelt: its selector does not match either", label: "yes", says: "skip: not-asked" },
  { name: "kube-system asks", namespace: "kube-system", label: "enabled", labels: enabled, says: "skip: system-namespace" },
  { name: "kube-node-lease asks", namespace: "kube-node-lease", label: "enabled", says: "skip: system-namespace" },
  { name: "Weft's own namespace asks", namespace: "weft-system", label: "enabled", labels: enabled, says: "skip: system-namespace" },
  { name: "the pod has hostNetwork", label: "enabled", spec: { hostNetwork: true }, says: "skip: host-network" },
  { name: "the pod says hostNetwork: false", label: "enabled", spec: { hostNetwork: false }, says: "inject" },
  { name: "the pod is for Windows", label: "enabled", spec: { os: { name: "windows" } }, says: "skip: windows" },
  { name: "it is a static pod's mirror", label: "enabled", annotations: { "kubernetes.io/config.mirror": "x" }, says: "skip: mirror-pod" },
  { name: "an annotation says that it is injected", label: "enabled", annotations: { "weft.dev/status": "injected" }, says: "inject" },
  {
    name: "the app runs as the proxy's user",
    label: "enabled",
    spec: { containers: [withUser(16800)] },
    says: "refuse: WEFT_PROXY_UID spec.containers[0].securityContext.runAsUser",
  },
  { name: "the app runs as another user", label: "enabled", spec: { containers: [withUser(16801)] }, says: "inject" },
  {
    name: "an init container runs as the proxy's user",
    label: "enabled",
    spec: { initContainers: [withUser(16800)] },
    says: "refuse: WEFT_PROXY_UID spec.initContainers[0].securityContext.runAsUser",
  },
  {
    name: "the pod runs as the proxy's user",
    label: "enabled",
    spec: { securityContext: { runAsUser: 16800 } },
    says: "refuse: WEFT_PROXY_UID spec.securityContext.runAsUser",
  },
  {
    name: "the app adds NET_ADMIN",
    label: "enabled",
    spec: { containers: [adding("NET_ADMIN")] },
    says: "refuse: WEFT_NETWORK_CAPABILITY spec.containers[0].securityContext.capabilities.add[0]",
  },
  {
    name: "the app adds all capabilities",
    label: "enabled",
    spec: { containers: [adding("all")] },
    says: "refuse: WEFT_NETWORK_CAPABILITY spec.containers[0].securityContext.capabilities.add[0]",
  },
  { name: "the app adds a harmless capability", label: "enabled", spec: { containers: [adding("NET_BIND_SERVICE")] }, says: "inject" },
  {
    name: "an app that adds NET_ADMIN stays out by label",
    label: "enabled",
    labels: disabled,
    spec: { containers: [adding("NET_ADMIN")] },
    says: "skip: disabled",
  },
  {
    name: "the app is privileged",
    label: "enabled",
    spec: { containers: [{ ...app, securityContext: { privileged: true } }] },
    says: "refuse: WEFT_NETWORK_CAPABILITY spec.containers[0].securityContext.privileged",
  },
  {
    name: "the app is called as the proxy is",
    label: "enabled",
    spec: { containers: [{ name: "weft-proxy" }] },
    says: "refuse: WEFT_RESERVED_NAME spec.containers[0].name",
  },
  {
    name: "an init container is called as ours and is none",
    label: "enabled",
    spec: { initContainers: [{ name: "weft-proxy", image: "x" }] },
    says: "refuse: WEFT_RESERVED_NAME spec.initContainers[0].name",
  },
  {
    name: "a container looks like ours among the app's",
    label: "enabled",
    spec: { containers: [{ name: "weft-init", args: ["proxy-init"] }] },
    says: "refuse: WEFT_RESERVED_NAME spec.containers[0].name",
  },
  ...[16801, 16802, 16803, 16804].map((containerPort) => ({
    name: `the app listens on ${containerPort}`,
    label: "enabled",
    spec: { containers: [{ ...app, ports: [{ containerPort }] }] },
    says: "refuse: WEFT_RESERVED_PORT spec.containers[0].ports[0].containerPort",
  })),
  {
    name: "the app listens beside our ports",
    label: "enabled",
    spec: { containers: [{ ...app, ports: [{ containerPort: 16805 }] }] },
    says: "inject",
  },
  {
    name: "a probe asks the proxy's admin port",
    label: "enabled",
    spec: { containers: [{ ...app, livenessProbe: { httpGet: { port: "16803", path: "/" } } }] },
    says: "refuse: WEFT_RESERVED_PORT spec.containers[0].livenessProbe.httpGet.port",
  },
  {
    name: "a probe is written as the injector would, with no table to stand for it",
    label: "enabled",
    spec: { containers: [{ ...app, livenessProbe: { httpGet: { port: 16804, path: "/probe/app/liveness" } } }] },
    says: "refuse: WEFT_RESERVED_PORT spec.containers[0].livenessProbe.httpGet.port",
  },
  {
    name: "a container mounts the proxy's key",
    label: "enabled",
    spec: { containers: [{ ...app, volumeMounts: [{ name: "weft-state", mountPath: "/x" }] }] },
    says: "refuse: WEFT_RESERVED_NAME spec.containers[0].volumeMounts[0].name",
  },
  {
    name: "a volume is called as ours is",
    label: "enabled",
    spec: { volumes: [{ name: "weft-token", emptyDir: {} }] },
    says: "refuse: WEFT_RESERVED_NAME spec.volumes[0].name",
  },
  {
    name: "a container for debugging adds NET_ADMIN",
    label: "enabled",
    spec: { ephemeralContainers: [adding("CAP_NET_ADMIN")] },
    says: "refuse: WEFT_NETWORK_CAPABILITY spec.ephemeralContainers[0].securityContext.capabilities.add[0]",
  },
];

describe("whether a pod is injected", () => {
  it.each(cases)("is decided when $name: $says", ({ namespace = "shop", label, labels, annotations, spec, says }) => {
    const asked = pod({ ...(labels && { labels }), ...(annotations && { annotations }), ...(spec && { spec }) });
    const namespaceLabels: Record<string, string> = label === undefined ? {} : { "weft.dev/inject": label };
    assert.equal(told(decide({ pod: asked, namespace, namespaceLabels, systemNamespace: "weft-system" })), says);
  });

  it("is told by its containers: what was injected is injected again, and is found to be complete", () => {
    const injected = mesh(pod({}), SETTINGS);
    assert.equal(
      told(decide({ pod: injected, namespace: "shop", namespaceLabels: enabled, systemNamespace: "weft-system" })),
      "inject again",
    );
  });

  it("warns of what weakens the mesh", () => {
    const decision = decide({
      pod: pod({ spec: { shareProcessNamespace: true, hostPID: true } }),
      namespace: "shop",
      namespaceLabels: enabled,
      systemNamespace: "weft-system",
    });
    assert.deepEqual(decision.action === "inject" && decision.warnings.map((warning) => warning.split(":")[0]), [
      "shareProcessNamespace",
      "hostPID",
    ]);
  });

  it("holds for whatever is sent instead of a pod", () => {
    for (const garbage of [
      {},
      { spec: 5 },
      { spec: { containers: 7 } },
      { spec: { containers: [null, 1, "x", []] } },
      { metadata: [], spec: null },
    ])
      assert.equal(
        told(decide({ pod: garbage as Json, namespace: "shop", namespaceLabels: enabled, systemNamespace: "weft-system" })),
        "inject",
      );
  });
});
