import Type, { type TObject, type TSchema } from "typebox";
import type { ObjectMeta } from "./kube.ts";

/** What the three kinds share: group and version, conditions, and GEP-713's status. */

export const WEFT_GROUP = "weft.dev";
export const WEFT_VERSION = "v1alpha1";
export const WEFT_API_VERSION = "weft.dev/v1alpha1";
/** Who writes our entries of status.ancestors. */
export const CONTROLLER_NAME = "weft.dev/operator";
/** Where the mesh's own objects live. */
export const SYSTEM_NAMESPACE = "weft-system";
/** The MeshIdentity in SYSTEM_NAMESPACE that speaks for the whole mesh. */
export const MESH_IDENTITY_NAME = "mesh";

const ConditionSchema = Type.Object(
  {
    type: Type.String({
      description: "Accepted, ResolvedRefs or Programmed.",
      minLength: 1,
      maxLength: 316,
      pattern: "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
    }),
    status: Type.Unsafe<"True" | "False" | "Unknown">({
      type: "string",
      enum: ["True", "False", "Unknown"],
      description: "Whether it holds.",
    }),
    observedGeneration: Type.Integer({ description: "metadata.generation that this was said of.", minimum: 0 }),
    lastTransitionTime: Type.String({ description: "When status last changed, RFC 3339.", format: "date-time", maxLength: 64 }),
    reason: Type.String({
      description: "One word for why, for programs.",
      minLength: 1,
      maxLength: 1024,
      pattern: "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
    }),
    message: Type.String({ description: "A sentence for why and what to do, for people.", maxLength: 32768 }),
  },
  { description: "One thing that is said of the object (meta/v1 Condition)." },
);

function conditions() {
  return Type.Array(ConditionSchema, {
    description: "What is said of the object, one entry a type.",
    maxItems: 8,
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
  });
}

const AncestorRefSchema = Type.Object(
  {
    group: Type.Optional(Type.String({ description: "API group; empty is the core group.", maxLength: 253 })),
    kind: Type.Optional(Type.String({ description: "Kind.", minLength: 1, maxLength: 63 })),
    namespace: Type.Optional(Type.String({ description: "Namespace; the policy's own when absent.", minLength: 1, maxLength: 63 })),
    name: Type.String({ description: "Name.", minLength: 1, maxLength: 253 }),
    sectionName: Type.Optional(
      Type.String({ description: "Port name of a Service or rule name of a route.", minLength: 1, maxLength: 253 }),
    ),
    port: Type.Optional(Type.Integer({ description: "Port number.", minimum: 1, maximum: 65535 })),
  },
  { description: "The object that the policy attaches to." },
);

/** GEP-713 PolicyStatus. */
export const PolicyStatusSchema = Type.Object(
  {
    ancestors: Type.Array(
      Type.Object(
        {
          ancestorRef: AncestorRefSchema,
          controllerName: Type.String({ description: `Who wrote the entry; ours say ${CONTROLLER_NAME}.`, minLength: 1, maxLength: 253 }),
          conditions: Type.Optional(conditions()),
        },
        { description: "What one controller says of the policy on one target." },
      ),
      { description: "One entry a target and controller (GEP-713).", maxItems: 16, "x-kubernetes-list-type": "atomic" },
    ),
  },
  { description: "Written by the operator." },
);

/** Status of what attaches to no other object. */
export const ConditionsStatusSchema = Type.Object({ conditions: Type.Optional(conditions()) }, { description: "Written by the operator." });

/** A kind of ours around its spec and status. `metadata` is the API server's to judge, so the schema says only that it is an object. */
export function kindSchema<const Kind extends string, Spec extends TObject, Status extends TSchema>(
  kind: Kind,
  description: string,
  spec: Spec,
  status: Status,
  options: Record<string, unknown> = {},
) {
  return Type.Object(
    {
      apiVersion: Type.Literal(WEFT_API_VERSION),
      kind: Type.Literal(kind),
      metadata: Type.Unsafe<ObjectMeta>({ type: "object" }),
      spec,
      status: Type.Optional(status),
    },
    { description, ...options },
  );
}
