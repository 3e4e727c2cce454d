import type { ErrorCode } from "#api/errors.ts";
import { nearest } from "#api/resources/schema-walk.ts";

/** What a field may hold. Fields that standalone mode does not use are known by name only (`any`). */
export type Shape =
  | "any"
  | "string"
  | "integer"
  | "port"
  | "portOrName"
  | "strings"
  | "stringMap"
  | { readonly list: Shape }
  | { readonly fields: Readonly<Record<string, Shape>>; readonly required?: readonly string[] };

export interface FieldProblem {
  readonly path: string;
  readonly code: ErrorCode;
  readonly message: string;
  readonly remedy: string;
}

const names = (list: string): Record<string, Shape> => Object.fromEntries(list.split(" ").map((n) => [n, "any" as const]));

const META: Shape = {
  fields: {
    ...names(
      "generateName finalizers ownerReferences uid resourceVersion generation creationTimestamp deletionTimestamp deletionGracePeriodSeconds managedFields selfLink",
    ),
    name: "string",
    namespace: "string",
    labels: "stringMap",
    annotations: "stringMap",
  },
};

const CONTAINER: Shape = {
  fields: {
    ...names(
      "envFrom image imagePullPolicy lifecycle livenessProbe readinessProbe resizePolicy resources restartPolicy restartPolicyRules securityContext startupProbe stdin stdinOnce terminationMessagePath terminationMessagePolicy tty volumeDevices volumeMounts workingDir",
    ),
    name: "string",
    command: "strings",
    args: "strings",
    env: { list: { fields: { name: "string", value: "string", valueFrom: "any" }, required: ["name"] } },
    ports: {
      list: {
        fields: { ...names("hostIP hostPort"), name: "string", protocol: "string", containerPort: "port" },
        required: ["containerPort"],
      },
    },
  },
  required: ["name"],
};

const POD_SPEC: Shape = {
  fields: {
    ...names(
      "activeDeadlineSeconds affinity automountServiceAccountToken dnsConfig dnsPolicy enableServiceLinks ephemeralContainers hostAliases hostIPC hostNetwork hostPID hostUsers hostname hostnameOverride imagePullSecrets initContainers nodeName nodeSelector os overhead preemptionPolicy priority priorityClassName readinessGates resourceClaims resources restartPolicy runtimeClassName schedulerName schedulingGates securityContext serviceAccount setHostnameAsFQDN shareProcessNamespace subdomain tolerations topologySpreadConstraints volumes workloadRef",
    ),
    containers: { list: CONTAINER },
    serviceAccountName: "string",
    terminationGracePeriodSeconds: "integer",
  },
  required: ["containers"],
};

const object = (fields: Record<string, Shape>, required: readonly string[] = []): Shape => ({
  fields: { apiVersion: "string", kind: "string", metadata: META, status: "any", ...fields },
  required: ["metadata", ...required],
});

/** The kinds whose meaning lies with the runner; the kinds of weft.dev are checked by mesh/plan alone. */
export const SHAPES: Readonly<Record<string, Shape>> = {
  Deployment: object(
    {
      spec: {
        fields: {
          ...names("minReadySeconds paused progressDeadlineSeconds revisionHistoryLimit strategy"),
          replicas: "integer",
          selector: { fields: { matchLabels: "stringMap", matchExpressions: "any" } },
          template: { fields: { metadata: META, spec: POD_SPEC }, required: ["spec"] },
        },
        required: ["selector", "template"],
      },
    },
    ["spec"],
  ),
  Pod: object({ spec: POD_SPEC }, ["spec"]),
  Service: object(
    {
      spec: {
        fields: {
          ...names(
            "allocateLoadBalancerNodePorts clusterIPs externalIPs externalName externalTrafficPolicy healthCheckNodePort internalTrafficPolicy ipFamilies ipFamilyPolicy loadBalancerClass loadBalancerIP loadBalancerSourceRanges publishNotReadyAddresses sessionAffinity sessionAffinityConfig trafficDistribution",
          ),
          type: "string",
          clusterIP: "string",
          selector: "stringMap",
          ports: {
            list: {
              fields: {
                name: "string",
                protocol: "string",
                appProtocol: "string",
                port: "port",
                targetPort: "portOrName",
                nodePort: "any",
              },
              required: ["port"],
            },
          },
        },
      },
    },
    ["spec"],
  ),
  EndpointSlice: object({
    addressType: "string",
    endpoints: {
      list: {
        fields: { ...names("conditions hostname targetRef nodeName zone hints deprecatedTopology"), addresses: "strings" },
        required: ["addresses"],
      },
    },
    ports: { list: { fields: { name: "string", protocol: "string", appProtocol: "string", port: "port" } } },
  }),
  ServiceAccount: object(names("automountServiceAccountToken imagePullSecrets secrets")),
  Namespace: object({ spec: "any" }),
};

/** Every way in which `value` is not of `shape`, in the order of the fields. */
export function checkShape(value: unknown, shape: Shape, path = ""): FieldProblem[] {
  if (shape === "any") return [];
  if (typeof shape === "string") {
    const problem = checkLeaf(value, shape);
    return problem === null ? [] : [{ path, code: "WEFT_INVALID_FIELD", ...problem }];
  }
  if ("list" in shape) {
    if (!Array.isArray(value)) return [wrong(path, value, "a list", "write the items below it, each after `- `")];
    return value.flatMap((item, i) => checkShape(item, shape.list, `${path}[${i}]`));
  }
  if (!isObject(value)) return [wrong(path, value, "an object", "write its fields below it, indented")];
  const at = (field: string): string => (path === "" ? field : `${path}.${field}`);
  const problems: FieldProblem[] = [];
  for (const field of shape.required ?? []) {
    if (value[field] === undefined || value[field] === null) {
      problems.push({
        path: at(field),
        code: "WEFT_BAD_MANIFEST",
        message: `${field} is missing`,
        remedy: `add ${field} to ${path === "" ? "the object" : path}`,
      });
    }
  }
  for (const [field, inner] of Object.entries(value)) {
    const known = Object.hasOwn(shape.fields, field) ? shape.fields[field] : undefined;
    if (known === undefined) problems.push(unknownField(at(field), field, Object.keys(shape.fields)));
    // An explicit null is an absent field, as the API server sees it.
    else if (inner !== null) problems.push(...checkShape(inner, known, at(field)));
  }
  return problems;
}

function unknownField(path: string, field: string, known: readonly string[]): FieldProblem {
  const near = nearest(field, known);
  const remedy =
    near === null ? `remove it; known here: ${known.slice(0, 12).join(", ")}${known.length > 12 ? ", …" : ""}` : `did you mean ${near}?`;
  return { path, code: "WEFT_UNKNOWN_FIELD", message: `unknown field ${JSON.stringify(field)}`, remedy };
}

function wrong(path: string, value: unknown, expected: string, remedy: string): FieldProblem {
  return { path, code: "WEFT_INVALID_FIELD", message: `must be ${expected}, not ${describeValue(value)}`, remedy };
}

type Leaf = "string" | "integer" | "port" | "portOrName" | "strings" | "stringMap";

function checkLeaf(value: unknown, shape: Leaf): { message: string; remedy: string } | null {
  const not = (expected: string, remedy: string) => ({ message: `must be ${expected}, not ${describeValue(value)}`, remedy });
  const isPort = typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 65535;
  switch (shape) {
    case "string":
      return typeof value === "string" ? null : not("a string", "put it in quotes");
    case "integer":
      return typeof value === "number" && Number.isInteger(value) && value >= 0
        ? null
        : not("a whole number, 0 or more", "write a number without quotes");
    case "port":
      return isPort ? null : not("a port number from 1 to 65535", "write the number without quotes");
    case "portOrName":
      return isPort || (typeof value === "string" && value !== "")
        ? null
        : not("a port number or the name of a container port", "write one of the two");
    case "strings":
      if (!Array.isArray(value)) return not("a list of strings", 'write it as ["node", "server.js"]');
      return value.every((v) => typeof v === "string") ? null : not("a list of strings", "put each item in quotes");
    case "stringMap":
      return isObject(value) && Object.values(value).every((v) => typeof v === "string")
        ? null
        : not("a map of strings", "put each value in quotes");
  }
}

/** A value as people call it: `the number 8080`, `a list`. */
function describeValue(value: unknown): string {
  if (value === null || value === undefined) return "empty";
  if (Array.isArray(value))
    return value.every((v) => typeof v === "string") ? "a list" : `a list with ${describeValue(value.find((v) => typeof v !== "string"))}`;
  if (typeof value === "object") {
    const odd = Object.entries(value).find(([, v]) => typeof v !== "string");
    return odd === undefined ? "an object" : `an object in which ${odd[0]} is ${describeValue(odd[1])}`;
  }
  return `the ${typeof value} ${JSON.stringify(value)?.slice(0, 60)}`;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
