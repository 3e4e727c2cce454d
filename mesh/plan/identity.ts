import { parseDuration } from "#api/duration.ts";
import { MtlsMode } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { MESH_IDENTITY_DEFAULTS } from "#api/resources/defaults.ts";
import { isTrustDomain } from "#api/spiffe.ts";
import type { Entry } from "./entry.ts";
import { labels, type PodFacts, record, selects, text } from "./facts.ts";
import { objectKey } from "./keys.ts";
import { MESH, type MeshIdentitySpec } from "./kinds.ts";
import { oldestFirst } from "./order.ts";
import type { ResourceIndex } from "./resource-index.ts";

/** Who trusts whom, and how strictly: the mesh's settings and each workload's mTLS mode. */

export interface MeshSettings {
  readonly trustDomain: string;
  /** Lifetime of a workload's certificate. */
  readonly ttlMs: number;
  /** Share of the lifetime after which a proxy asks for the next certificate. */
  readonly renewAfterPercent: number;
  readonly rootTtlMs: number;
  readonly issuerTtlMs: number;
}

export type Mode = "Disabled" | "Permissive" | "Strict";

const STRENGTH: Readonly<Record<Mode, number>> = { Disabled: 0, Permissive: 1, Strict: 2 };
const ON_WIRE: Readonly<Record<Mode, MtlsMode>> = { Disabled: MtlsMode.DISABLED, Permissive: MtlsMode.PERMISSIVE, Strict: MtlsMode.STRICT };

/** A workload's modes, with what they were planned from. */
export interface Modes {
  readonly mode: Mode;
  /** Ports with a mode of their own. */
  readonly ports: ReadonlyMap<number, Mode>;
  readonly resourceVersion: bigint;
}

export function onWire(mode: Mode): MtlsMode {
  return ON_WIRE[mode];
}

export function modeAt(modes: Modes, port: number): Mode {
  return modes.ports.get(port) ?? modes.mode;
}

/** What the CA and every SPIFFE id follow: the last good generation of `mesh` in weft-system, defaults where it is silent. */
export function planMesh(index: ResourceIndex): MeshSettings {
  const spec = meshSpec(index);
  const defaults = MESH_IDENTITY_DEFAULTS;
  const selfSigned = spec?.issuer?.selfSigned;
  return {
    trustDomain: trustDomainOf(index),
    ttlMs: parseDuration(spec?.certificates?.ttl ?? defaults.certificates.ttl) ?? 0,
    renewAfterPercent: spec?.certificates?.renewAfterPercent ?? defaults.certificates.renewAfterPercent,
    rootTtlMs: parseDuration(selfSigned?.rootTTL ?? defaults.issuer.selfSigned.rootTTL) ?? 0,
    issuerTtlMs: parseDuration(selfSigned?.issuerTTL ?? defaults.issuer.selfSigned.issuerTTL) ?? 0,
  };
}

/** Stands in every SPIFFE id of the mesh. */
export function trustDomainOf(index: ResourceIndex): string {
  const spec = meshSpec(index);
  const standard = MESH_IDENTITY_DEFAULTS.trustDomain;
  return spec === null ? (rememberedTrustDomain(index) ?? standard) : (spec.trustDomain ?? standard);
}

/** Modes of the pod: most specific MeshIdentity first (its labels, its namespace, the mesh), never below the mesh's minimum. */
export function modesOf(index: ResourceIndex, pod: PodFacts): Modes {
  let resourceVersion = index.identities.get(MESH)?.resourceVersion ?? 0n;
  const candidates: { entry: Entry<MeshIdentitySpec>; spec: MeshIdentitySpec }[] = [];
  for (const entry of index.identities.at(index.identitiesInNamespace, pod.namespace)) {
    if (entry.resourceVersion > resourceVersion) resourceVersion = entry.resourceVersion;
    const spec = entry.key === MESH ? null : specInForce(index, entry);
    if (spec !== null && selects(labels(spec.selector?.matchLabels), pod.labels)) candidates.push({ entry, spec });
  }
  candidates.sort((a, b) => Number(isNamespaceWide(a.spec)) - Number(isNamespaceWide(b.spec)) || oldestFirst(a.entry, b.entry));
  const mesh = meshSpec(index);
  const mtls = candidates.find(({ spec }) => spec.mtls !== undefined)?.spec.mtls ?? mesh?.mtls;
  const minimum = minimumMode(index);
  const ports = new Map<number, Mode>();
  for (const { port, mode } of mtls?.ports ?? []) ports.set(port, atLeast(minimum, mode));
  const mode = atLeast(minimum, mtls?.mode ?? mesh?.mtls?.mode ?? MESH_IDENTITY_DEFAULTS.mtls.mode);
  return { mode, ports, resourceVersion };
}

/** True when it speaks for all pods of its namespace. */
export function isNamespaceWide(spec: MeshIdentitySpec): boolean {
  return labels(spec.selector?.matchLabels).size === 0;
}

/** The generation that holds: the current one unless it is refused, else the last good one. */
export function specInForce(index: ResourceIndex, entry: Entry<MeshIdentitySpec>): MeshIdentitySpec | null {
  return entry.current !== null && identityRefusal(index, entry) === null ? entry.current : entry.lastGood;
}

export interface Refusal {
  readonly path: string;
  readonly message: string;
  readonly remedy: string;
}

/** Why a MeshIdentity that is well-formed by itself is refused beside the others; null when it is not. */
export function identityRefusal(index: ResourceIndex, entry: Entry<MeshIdentitySpec>): Refusal | null {
  const spec = entry.current;
  if (spec === null) return null;
  if (entry.key === MESH) {
    const before = rememberedTrustDomain(index);
    const now = spec.trustDomain ?? MESH_IDENTITY_DEFAULTS.trustDomain;
    if (before === null || before === now) return null;
    return {
      path: "spec.trustDomain",
      message: `cannot change from ${before} to ${now}: it stands in every certificate`,
      remedy: `set it back to ${before}, or install a mesh of its own`,
    };
  }
  const minimum = minimumMode(index);
  const modes: [string, Mode | undefined][] = [["spec.mtls.mode", spec.mtls?.mode]];
  for (const [position, port] of (spec.mtls?.ports ?? []).entries()) modes.push([`spec.mtls.ports[${position}].mode`, port.mode]);
  for (const [path, mode] of modes) {
    if (mode !== undefined && STRENGTH[mode] < STRENGTH[minimum]) {
      return {
        path,
        message: `${mode} is below ${minimum}, the minimum of MeshIdentity ${MESH}`,
        remedy: `write ${minimum} or stricter, or lower mtls.minimum of the mesh`,
      };
    }
  }
  return null;
}

function atLeast(minimum: Mode, mode: Mode): Mode {
  return STRENGTH[mode] < STRENGTH[minimum] ? minimum : mode;
}

function minimumMode(index: ResourceIndex): Mode {
  return meshSpec(index)?.mtls?.minimum ?? MESH_IDENTITY_DEFAULTS.mtls.minimum;
}

function meshSpec(index: ResourceIndex): MeshIdentitySpec | null {
  const entry = index.identities.get(MESH);
  return entry === undefined ? null : specInForce(index, entry);
}

/**
 * The trust domain that was accepted first, null for none. Deleting `mesh` returns its settings to their defaults, but a
 * trust domain is for ever: certificates carry it.
 */
function rememberedTrustDomain(index: ResourceIndex): string | null {
  const object = index.lastGood.get(objectKey("MeshIdentity", MESH));
  if (object === undefined) return null;
  const written = text(record(object.spec)["trustDomain"]);
  return isTrustDomain(written) ? written : MESH_IDENTITY_DEFAULTS.trustDomain;
}
