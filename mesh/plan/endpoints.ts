import { create } from "@bufbuild/protobuf";
import { type Endpoint, EndpointSchema, EndpointsSchema } from "#api/gen/weft/discovery/v1/discovery_pb.ts";
import { workloadId } from "#api/spiffe.ts";
import { policyFor } from "./attach.ts";
import { Newest, type PlannedDocument } from "./documents.ts";
import { type EndpointFacts, type Labels, labels, type PodFacts, type ServiceFacts, type SliceFacts, selects } from "./facts.ts";
import { modeAt, modesOf, trustDomainOf } from "./identity.ts";
import { endpointsKey } from "./keys.ts";
import type { TrafficPolicySpec } from "./kinds.ts";
import { byteOrder } from "./order.ts";
import type { ResourceIndex } from "./resource-index.ts";

/** Who is behind one port of a Service. Null when there is no such Service or port. */
export function planEndpoints(index: ResourceIndex, key: string, port: number): PlannedDocument | null {
  const service = index.services.get(key);
  const servicePort = service?.ports.find((candidate) => candidate.port === port);
  if (service === undefined || servicePort === undefined) return null;
  const documentKey = endpointsKey(key, port);
  const newest = new Newest(index.revisionOf(documentKey));
  newest.see(service);
  const policy = policyFor(index, service, servicePort.name);
  if (policy !== null) newest.see(policy.entry);
  const subsets = subsetsOf(policy?.spec ?? null);
  const found = new Map<string, Endpoint>();
  for (const slice of familyOf(service, index.slicesOf(key))) {
    newest.see(slice);
    const number = slice.ports.get(servicePort.name);
    if (number === undefined) continue;
    for (const facts of slice.endpoints) {
      const endpoint = planEndpoint(index, slice, facts, number, subsets, newest);
      const id = `${endpoint.address}:${number}`;
      // While slices are rewritten the same address may stand in two of them: the ready one counts.
      const known = found.get(id);
      if (known === undefined || (!known.ready && endpoint.ready)) found.set(id, endpoint);
    }
  }
  const upserts = [...found.values()].sort((a, b) => byteOrder(a.address, b.address) || a.port - b.port);
  return { key: documentKey, resourceVersion: newest.value, requires: [], body: create(EndpointsSchema, { upserts }) };
}

interface Subset {
  readonly name: string;
  readonly selector: Labels;
}

function subsetsOf(spec: TrafficPolicySpec | null): Subset[] {
  return (spec?.subsets ?? []).map(({ name, selector }) => ({ name, selector: labels(selector.matchLabels) }));
}

/** Names of the policy's subsets that hold some pod of the Service, ready or not: a rollout must not turn 503 into 500. */
export function inhabitedSubsets(index: ResourceIndex, service: ServiceFacts, spec: TrafficPolicySpec, newest: Newest): Set<string> {
  const inhabited = new Set<string>();
  const subsets = subsetsOf(spec);
  if (subsets.length === 0) return inhabited;
  const pods = new Map(index.podsSelectedBy(service).map((pod) => [pod.key, pod]));
  for (const slice of index.slicesOf(service.key)) {
    newest.see(slice);
    for (const endpoint of slice.endpoints) {
      const pod = podOf(index, slice, endpoint);
      if (pod !== null) pods.set(pod.key, pod);
    }
  }
  for (const pod of pods.values()) {
    newest.see(pod);
    if (pod.gone) continue;
    for (const { name, selector } of subsets) if (selects(selector, pod.labels)) inhabited.add(name);
  }
  return inhabited;
}

function planEndpoint(
  index: ResourceIndex,
  slice: SliceFacts,
  facts: EndpointFacts,
  port: number,
  subsets: readonly Subset[],
  newest: Newest,
): Endpoint {
  const pod = podOf(index, slice, facts);
  const endpoint = create(EndpointSchema, {
    address: facts.address,
    port,
    ready: facts.ready,
    zone: facts.zone,
    pod: pod?.key ?? facts.pod,
  });
  if (pod === null) {
    // Never in plaintext only because we do not know (yet) who is there: a pod that the store does not show, or an
    // annotation that cannot be read, is not ready.
    if (facts.pod !== "" || slice.identity === "invalid") endpoint.ready = false;
    else if (slice.identity !== null)
      endpoint.spiffeId = workloadId(trustDomainOf(index), slice.identity.namespace, slice.identity.serviceAccount);
    return endpoint;
  }
  const modes = modesOf(index, pod);
  newest.see(pod, modes);
  if (pod.gone || pod.deleting) endpoint.ready = false;
  if (pod.meshed && modeAt(modes, port) !== "Disabled") {
    endpoint.spiffeId = workloadId(trustDomainOf(index), pod.namespace, pod.serviceAccount);
  }
  endpoint.subsets = subsets.filter(({ selector }) => selects(selector, pod.labels)).map(({ name }) => name);
  return endpoint;
}

/** The pod that the slice names; where it names none and does not say itself who is there, the pod that has the address. */
function podOf(index: ResourceIndex, slice: SliceFacts, endpoint: EndpointFacts): PodFacts | null {
  if (endpoint.pod !== "") return index.pods.get(endpoint.pod) ?? null;
  return slice.identity === null ? index.podAt(endpoint.address) : null;
}

/** A dual-stack Service has each pod twice: its own family counts, the other only where there is nothing else. */
function familyOf(service: ServiceFacts, slices: readonly SliceFacts[]): readonly SliceFacts[] {
  const own = slices.filter((slice) => slice.ipv6 === service.ipv6);
  return own.length > 0 ? own : slices;
}
