import type { BackendRef } from "#api/resources/route.ts";
import { policyFor } from "./attach.ts";
import type { Newest } from "./documents.ts";
import { inhabitedSubsets } from "./endpoints.ts";
import type { ServiceFacts } from "./facts.ts";
import type { TrafficPolicySpec } from "./kinds.ts";
import type { ResourceIndex } from "./resource-index.ts";

/** Where a backendRef leads. */
export interface Resolved {
  readonly service: ServiceFacts;
  readonly port: number;
  /** "" for all endpoints. */
  readonly subset: string;
}

/** Why it leads nowhere: its share of requests is answered 500. */
export interface Unresolved {
  readonly reason: "BackendNotFound" | "EmptySubset";
  /** Which field of the ref is at fault. */
  readonly field: "subset" | "name" | "port";
  readonly message: string;
  readonly remedy: string;
}

/** Resolves the backendRefs of one policy on one Service. */
export class BackendResolver {
  readonly #index: ResourceIndex;
  readonly #service: ServiceFacts;
  readonly #namespace: string;
  readonly #subsets: ReadonlySet<string>;
  readonly #inhabited: ReadonlySet<string>;
  readonly #newest: Newest;

  constructor(index: ResourceIndex, service: ServiceFacts, spec: TrafficPolicySpec, namespace: string, newest: Newest) {
    this.#index = index;
    this.#service = service;
    this.#namespace = namespace;
    this.#newest = newest;
    this.#subsets = new Set((spec.subsets ?? []).map(({ name }) => name));
    this.#inhabited = inhabitedSubsets(index, service, spec, newest);
  }

  /** Names of the policy's subsets that select no pod of the Service. */
  get emptySubsets(): string[] {
    return [...this.#subsets].filter((name) => !this.#inhabited.has(name));
  }

  /** `port`: that of the Service for which routes are planned; a subset is reached by the same port. */
  resolve(ref: BackendRef, port: number): Resolved | Unresolved {
    if (ref.subset !== undefined) return this.#resolveSubset(ref.subset, port);
    const key = `${ref.namespace ?? this.#namespace}/${ref.name}`;
    const service = this.#index.services.get(key);
    if (service === undefined) {
      return {
        reason: "BackendNotFound",
        field: "name",
        message: `there is no Service ${key}`,
        remedy: "apply the Service or correct the name",
      };
    }
    this.#newest.see(service);
    const found = service.ports.find((candidate) => candidate.port === ref.port);
    if (found === undefined) {
      return {
        reason: "BackendNotFound",
        field: "port",
        message: `Service ${key} has no TCP port ${ref.port}`,
        remedy: "correct the port",
      };
    }
    if (!found.http) {
      const remedy = "give the port appProtocol: http if it speaks HTTP";
      return { reason: "BackendNotFound", field: "port", message: `port ${ref.port} of Service ${key} does not declare HTTP`, remedy };
    }
    const policy = policyFor(this.#index, service, found.name);
    if (policy !== null) this.#newest.see(policy.entry);
    return { service, port: found.port, subset: "" };
  }

  #resolveSubset(subset: string, port: number): Resolved | Unresolved {
    if (!this.#subsets.has(subset)) {
      const remedy = "define it in spec.subsets or correct the name";
      return { reason: "BackendNotFound", field: "subset", message: `there is no subset ${subset}`, remedy };
    }
    if (!this.#inhabited.has(subset)) {
      const message = `subset ${subset} selects no pod of Service ${this.#service.key}`;
      return { reason: "EmptySubset", field: "subset", message, remedy: "correct the subset's matchLabels or the pods' labels" };
    }
    return { service: this.#service, port, subset };
  }
}

export function isResolved(result: Resolved | Unresolved): result is Resolved {
  return "service" in result;
}
