import { stringify } from "yaml";
import { MESH_IDENTITY_NAME, WEFT_GROUP, WEFT_VERSION } from "#api/resources/object.ts";
import { STRUCTURAL_SCHEMAS, type WeftKind } from "#api/resources/schema-walk.ts";
import type { StructuralSchema } from "#api/resources/structural.ts";

/** The CustomResourceDefinitions as values and as text. Pure: the same schemas give the same bytes. */

interface Column {
  readonly name: string;
  readonly type: "string" | "date";
  readonly jsonPath: string;
  readonly description?: string;
  /** 1: only in `kubectl get -o wide`. */
  readonly priority?: 1;
}

interface Naming {
  readonly kind: WeftKind;
  readonly singular: string;
  readonly plural: string;
  readonly shortName: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly columns: readonly Column[];
}

const ofAncestor = (type: string) => `.status.ancestors[0].conditions[?(@.type=="${type}")].status`;
const ofObject = (type: string) => `.status.conditions[?(@.type=="${type}")].status`;
const AGE: Column = { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" };
const TARGET: Column = { name: "Target", type: "string", jsonPath: ".spec.targetRefs[0].name", description: "The first of targetRefs." };
/** How `kubectl` plugins and Gateway API's tools find policies (GEP-713); Direct: it changes what it names and nothing beneath. */
const DIRECT_POLICY = { "gateway.networking.k8s.io/policy": "Direct" };

function conditions(path: (type: string) => string): readonly Column[] {
  return [
    { name: "Accepted", type: "string", jsonPath: path("Accepted"), description: "Whether the object is valid and in force." },
    { name: "Programmed", type: "string", jsonPath: path("Programmed"), description: "Whether every proxy that needs it has it." },
    { name: "ResolvedRefs", type: "string", jsonPath: path("ResolvedRefs"), description: "Whether all it names exists.", priority: 1 },
  ];
}

const NAMINGS: readonly Naming[] = [
  {
    kind: "TrafficPolicy",
    singular: "trafficpolicy",
    plural: "trafficpolicies",
    shortName: "wtp",
    labels: DIRECT_POLICY,
    columns: [TARGET, ...conditions(ofAncestor), AGE],
  },
  {
    kind: "MeshIdentity",
    singular: "meshidentity",
    plural: "meshidentities",
    shortName: "wid",
    columns: [
      { name: "mTLS", type: "string", jsonPath: ".spec.mtls.mode", description: "The mTLS mode asked for." },
      { name: "Trust-Domain", type: "string", jsonPath: ".spec.trustDomain", description: `Of ${MESH_IDENTITY_NAME} only.`, priority: 1 },
      ...conditions(ofObject),
      AGE,
    ],
  },
  {
    kind: "AccessPolicy",
    singular: "accesspolicy",
    plural: "accesspolicies",
    shortName: "wap",
    labels: DIRECT_POLICY,
    columns: [
      { name: "Action", type: "string", jsonPath: ".spec.action", description: "What a match means." },
      { name: "Mode", type: "string", jsonPath: ".spec.mode", description: "Audit only counts.", priority: 1 },
      TARGET,
      ...conditions(ofAncestor),
      AGE,
    ],
  },
];

/** One CustomResourceDefinition v1. */
function definition({ kind, singular, plural, shortName, labels, columns }: Naming): object {
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${WEFT_GROUP}`, ...(labels === undefined ? {} : { labels }) },
    spec: {
      group: WEFT_GROUP,
      scope: "Namespaced",
      names: { kind, listKind: `${kind}List`, plural, singular, shortNames: [shortName], categories: ["weft"] },
      versions: [
        {
          name: WEFT_VERSION,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: columns,
          schema: { openAPIV3Schema: root(STRUCTURAL_SCHEMAS[kind]) },
        },
      ],
    },
  };
}

/**
 * The schema at the root. The API server has its own for apiVersion, kind and metadata and allows no more than
 * their type here; that the first three are there it knows by itself.
 */
export function root(schema: StructuralSchema): StructuralSchema {
  return {
    ...schema,
    required: ["spec"],
    properties: {
      ...schema.properties,
      apiVersion: { type: "string", description: "Group and version." },
      kind: { type: "string", description: "Kind." },
      metadata: { type: "object" },
    },
  };
}

/** File name → text of every CustomResourceDefinition. */
export function definitionFiles(): ReadonlyMap<string, string> {
  const head = "# Generated from api/resources by `node crds/generate.ts`; edit there.\n";
  return new Map(
    NAMINGS.map((naming) => [
      `${WEFT_GROUP}_${naming.plural}.yaml`,
      head + stringify(definition(naming), { lineWidth: 0, aliasDuplicateObjects: false }),
    ]),
  );
}
