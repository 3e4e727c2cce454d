import Type, { type Static } from "typebox";
import { TRUST_DOMAIN_BYTES_MAX } from "../spiffe.ts";
import { MESH_IDENTITY_DEFAULTS } from "./defaults.ts";
import { duration, durationWithin, type Frozen, keyedBy, list, objectName, oneOf, port, rules, selector } from "./fields.ts";
import { ConditionsStatusSchema, kindSchema, MESH_IDENTITY_NAME, SYSTEM_NAMESPACE } from "./object.ts";

/**
 * Who is who, and what must be encrypted. Short name wid. The one called `mesh` in weft-system speaks for all; others
 * say the mTLS mode of some workloads of their own namespace. CEL cannot see the namespace: that an object called
 * `mesh` elsewhere is not *the* mesh's is checked by `plan`.
 */

const { issuer, certificates, mtls, trustDomain } = MESH_IDENTITY_DEFAULTS;
/** No `default` in the schema: the mesh's own object defaults to Permissive, all others to what the mesh says. */
const MODES = ["Strict", "Permissive", "Disabled"] as const;
const MESH_ONLY = `only the MeshIdentity ${MESH_IDENTITY_NAME} in ${SYSTEM_NAMESPACE} may set it`;

const IssuerSchema = Type.Object(
  {
    selfSigned: Type.Optional(
      Type.Object(
        {
          rootTTL: Type.Optional(
            duration("Lifetime of the root certificate, from 1h.", {
              default: issuer.selfSigned.rootTTL,
              rules: [durationWithin("1h", "99999h")],
            }),
          ),
          issuerTTL: Type.Optional(
            duration("Lifetime of the issuing certificate, from 10m, at most rootTTL.", {
              default: issuer.selfSigned.issuerTTL,
              rules: [durationWithin("10m", "99999h")],
            }),
          ),
        },
        {
          description: "Weft makes and keeps the CA itself.",
          ...rules({
            rule: `duration(has(self.issuerTTL) ? self.issuerTTL : '${issuer.selfSigned.issuerTTL}') <= duration(has(self.rootTTL) ? self.rootTTL : '${issuer.selfSigned.rootTTL}')`,
            message: `issuerTTL (${issuer.selfSigned.issuerTTL} when absent) must not be longer than rootTTL (${issuer.selfSigned.rootTTL} when absent)`,
            fieldPath: ".issuerTTL",
          }),
        },
      ),
    ),
    secretRef: Type.Optional(
      Type.Object(
        { name: objectName(`Name of a Secret of type kubernetes.io/tls in ${SYSTEM_NAMESPACE}, with ca.crt.`) },
        { description: "A CA of your own: its certificate and key." },
      ),
    ),
  },
  {
    description: `Where certificates come from; selfSigned when absent. Only in the MeshIdentity ${MESH_IDENTITY_NAME}.`,
    ...rules({ rule: "has(self.selfSigned) != has(self.secretRef)", message: "give exactly one of selfSigned and secretRef" }),
  },
);

const CertificatesSchema = Type.Object(
  {
    ttl: Type.Optional(
      duration("Lifetime of a workload's certificate, from 60s to 168h.", {
        default: certificates.ttl,
        rules: [durationWithin("60s", "168h")],
      }),
    ),
    renewAfterPercent: Type.Optional(
      Type.Integer({
        description: "How much of its lifetime has passed when a certificate is renewed, in percent.",
        minimum: 10,
        maximum: 90,
        default: certificates.renewAfterPercent,
      }),
    ),
  },
  { description: `The certificates of workloads. Only in the MeshIdentity ${MESH_IDENTITY_NAME}.` },
);

const PortModeSchema = Type.Object(
  { port: port("The port that the application listens on."), mode: oneOf(MODES, { description: "Mode of this port." }) },
  { description: "A port with a mode of its own." },
);

/** True in CEL when mode `of` is at least the mode that `minimum` names: Disabled < Permissive < Strict. */
const atLeast = (of: string, minimum: string) =>
  `(${minimum} == 'Disabled' || ${of} == 'Strict' || (${minimum} == 'Permissive' && ${of} == 'Permissive'))`;

const MtlsSchema = Type.Object(
  {
    mode: Type.Optional(
      oneOf(MODES, {
        description: `Strict: only mTLS from the mesh. Permissive: plaintext too. Disabled: no mTLS. When absent: ${mtls.mode} for the mesh, elsewhere what the mesh says.`,
      }),
    ),
    minimum: Type.Optional(
      oneOf(MODES, {
        description: `Below which no MeshIdentity of the mesh may go; ${mtls.minimum} when absent. Only in the MeshIdentity ${MESH_IDENTITY_NAME}.`,
      }),
    ),
    ports: Type.Optional(list(PortModeSchema, "Ports with a mode of their own.", { maxItems: 64, ...keyedBy("port") })),
  },
  {
    description: "What inbound connections must be.",
    ...rules(
      {
        rule: `!has(self.minimum) || ${atLeast(`(has(self.mode) ? self.mode : '${mtls.mode}')`, "self.minimum")}`,
        message: `mode (${mtls.mode} when absent) must not be below minimum (Disabled < Permissive < Strict)`,
        fieldPath: ".mode",
      },
      {
        rule: `!has(self.minimum) || !has(self.ports) || self.ports.all(p, ${atLeast("p.mode", "self.minimum")})`,
        message: "no port's mode may be below minimum (Disabled < Permissive < Strict)",
        fieldPath: ".ports",
      },
    ),
  },
);

export const MeshIdentitySpecSchema = Type.Object(
  {
    trustDomain: Type.Optional(
      Type.String({
        description: `The SPIFFE trust domain of the mesh, ${trustDomain} when absent; cannot be changed. Only in the MeshIdentity ${MESH_IDENTITY_NAME}.`,
        minLength: 1,
        maxLength: TRUST_DOMAIN_BYTES_MAX,
        pattern: "^[a-z0-9._-]+$",
      }),
    ),
    issuer: Type.Optional(IssuerSchema),
    certificates: Type.Optional(CertificatesSchema),
    selector: Type.Optional(selector("Which pods of the namespace; all when absent.")),
    mtls: Type.Optional(MtlsSchema),
  },
  {
    description: "What is wanted.",
    ...rules(
      {
        rule: "!has(self.selector) || !(has(self.trustDomain) || has(self.issuer) || has(self.certificates) || (has(self.mtls) && has(self.mtls.minimum)))",
        message: "trustDomain, issuer, certificates and mtls.minimum are of the whole mesh: give no selector beside them",
        fieldPath: ".selector",
      },
      {
        // Not on trustDomain itself: the API server skips a rule on a field that either side lacks.
        rule: `(has(self.trustDomain) ? self.trustDomain : '${trustDomain}') == (has(oldSelf.trustDomain) ? oldSelf.trustDomain : '${trustDomain}')`,
        message: `trustDomain (${trustDomain} when absent) cannot be changed: every identity in the mesh has it in its name`,
        fieldPath: ".trustDomain",
      },
    ),
  },
);

const onlyInMesh = (path: string, has: string) => ({
  rule: `self.metadata.name == '${MESH_IDENTITY_NAME}' || !(${has})`,
  message: `${path}: ${MESH_ONLY}`,
  fieldPath: `.${path}`,
});

export const MeshIdentitySchema = kindSchema(
  "MeshIdentity",
  "Who is who in the mesh, and what must be encrypted.",
  MeshIdentitySpecSchema,
  ConditionsStatusSchema,
  rules(
    onlyInMesh("spec.trustDomain", "has(self.spec.trustDomain)"),
    onlyInMesh("spec.issuer", "has(self.spec.issuer)"),
    onlyInMesh("spec.certificates", "has(self.spec.certificates)"),
    onlyInMesh("spec.mtls.minimum", "has(self.spec.mtls) && has(self.spec.mtls.minimum)"),
  ),
);

export type MtlsMode = (typeof MODES)[number];
export type Issuer = Frozen<Static<typeof IssuerSchema>>;
export type Certificates = Frozen<Static<typeof CertificatesSchema>>;
export type Mtls = Frozen<Static<typeof MtlsSchema>>;
export type MeshIdentitySpec = Frozen<Static<typeof MeshIdentitySpecSchema>>;
export type MeshIdentity = Frozen<Static<typeof MeshIdentitySchema>>;
