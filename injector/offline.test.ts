import assert from "node:assert/strict";
import { parseAllDocuments } from "yaml";
import { injectOffline, type Offline } from "./offline.ts";
import { mesh } from "./patch.ts";
import { list, record, type Json } from "./pod.ts";
import { SETTINGS } from "./test-settings.ts";

function inject(source: string): Offline {
  const offline = injectOffline(source, SETTINGS);
  if ("problem" in offline) assert.fail(offline.problem);
  return offline;
}

const objects = (yaml: string): Json[] => parseAllDocuments(yaml).map((document) => record(document.toJS()));
const told = ({ results }: Offline): string[] =>
  results.map(({ object, outcome, reason }) => `${object} ${outcome}${reason === "" ? "" : `: ${reason}`}`);

const DEPLOYMENT = `# The cart.
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  replicas: 2 # two of them
  template:
    metadata:
      labels: {app: cart}
    spec:
      containers:
      - name: app # the app
        image: cart:1
        readinessProbe: {httpGet: {path: /healthz, port: 8080}}
`;
const SERVICE = "apiVersion: v1\nkind: Service\nmetadata:   {name: cart}   # odd spacing\n";

describe("injecting manifests", () => {
  it("gives a Deployment's template what the webhook gives its pods", () => {
    const [before] = objects(DEPLOYMENT);
    const [after] = objects(inject(DEPLOYMENT).yaml);
    const template = (object: Json | undefined): Json => record(record(object?.["spec"])["template"]);
    assert.deepEqual(template(after), mesh(template(before), SETTINGS));
    assert.deepEqual(told(inject(DEPLOYMENT)), ["deployment/cart injected"]);
  });

  it("keeps comments and order", () => {
    const { yaml } = inject(DEPLOYMENT);
    assert.deepEqual(
      ["# The cart.", "# two of them", "# the app"].map((comment) => yaml.includes(comment)),
      [true, true, true],
    );
    assert.ok(yaml.indexOf("replicas") < yaml.indexOf("template"));
  });

  it("changes nothing the second time", () => {
    const once = inject(DEPLOYMENT);
    const twice = inject(once.yaml);
    assert.deepEqual([twice.yaml, told(twice)], [once.yaml, ["deployment/cart unchanged"]]);
  });

  it("returns what has no pods octet for octet", () => {
    assert.deepEqual(inject(SERVICE), {
      yaml: SERVICE,
      results: [{ object: "service/cart", outcome: "other", reason: "", problems: [], warnings: [] }],
    });
  });

  it("injects every kind that makes pods, and a List of them", () => {
    const pod = (prefix: string): string => `${prefix}{containers: [{name: app, image: "x:1"}]}`;
    const source = [
      `{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: ${pod("")}}`,
      `{apiVersion: batch/v1, kind: CronJob, metadata: {name: b}, spec: {jobTemplate: {spec: {template: {spec: ${pod("")}}}}}}`,
      `{apiVersion: v1, kind: List, items: [{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: c}, spec: {template: {spec: ${pod("")}}}}]}`,
      `{apiVersion: example.com/v1, kind: Job, metadata: {name: d}, spec: {template: {spec: ${pod("")}}}}`,
    ].join("\n---\n");
    const offline = inject(source);
    assert.deepEqual(told(offline), ["pod/a injected", "cronjob/b injected", "statefulset/c injected", "job/d other"]);
    const list_ = objects(offline.yaml)[2];
    const [set] = list(list_?.["items"]).map(record);
    assert.deepEqual(list(record(record(record(set?.["spec"])["template"])["spec"])["initContainers"]).length, 2);
  });

  it("leaves out what says so, and what a Namespace beside it says", () => {
    const source = `${DEPLOYMENT.replace("app: cart", "weft.dev/inject: disabled")}---
apiVersion: v1
kind: Namespace
metadata: {name: quiet, labels: {weft.dev/inject: disabled}}
---
${DEPLOYMENT.replace("namespace: shop", "namespace: quiet")}`;
    const offline = inject(source);
    assert.deepEqual(told(offline), ["deployment/cart skipped: disabled", "namespace/quiet other", "deployment/cart skipped: disabled"]);
    assert.equal(offline.yaml, source);
  });

  it("refuses with the path in the object, not in its template", () => {
    const [result] = inject(DEPLOYMENT.replace("image: cart:1", "securityContext: {runAsUser: 16800}")).results;
    assert.deepEqual(
      [result?.outcome, result?.problems[0]?.path],
      ["refused", "spec.template.spec.containers[0].securityContext.runAsUser"],
    );
  });

  it("says where YAML cannot be read", () => {
    const offline = injectOffline("a: [", SETTINGS);
    assert.match("problem" in offline ? offline.problem : "read", /line 1/);
  });
});
