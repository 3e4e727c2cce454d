import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { Code, type ConnectError, type HandlerContext } from "@connectrpc/connect";
import type { Clock } from "#api/clock.ts";
import { type IssueRequest, type IssueResponse, IssueResponseSchema } from "#api/gen/weft/identity/v1/identity_pb.ts";
import type { Attestor } from "#api/store.ts";
import { attest, type Verdict } from "#ca/attest.ts";
import type { Authority } from "#ca/authority.ts";
import { WORKLOAD } from "#ca/profiles.ts";
import type { Logger } from "#runtime/logger.ts";
import type { MetricsRegistry } from "#runtime/metrics-server.ts";
import { RateLimit } from "./rate-limit.ts";
import { rpcError } from "./rpc-error.ts";

/** Per token and per identity. A proxy that restarts in a loop stays below; a thief of one token cannot keep the CA busy. */
const ISSUES_PER_SECOND = 10;
const ISSUES_BURST = 20;
/** Tokens and identities remembered. */
const KEYS_MAX = 20_000;
/** Questions to the attestor at once; further callers are told to come back. */
const ATTESTS_IN_FLIGHT_MAX = 64;

export interface IdentityDeps {
  readonly authority: Authority;
  readonly attestor: Attestor;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
  /** MeshIdentity's, as they are now. */
  readonly settings: () => { readonly ttlMs: number; readonly renewAfterPercent: number };
}

/** Outcomes as weft_ca_issued_total counts them. */
type Outcome = "issued" | "refused" | "rate_limited" | "unavailable";

/** weft.identity.v1.IdentityService: attest → prepare → lint → sign. Needs no client certificate. */
export class IdentityServer {
  readonly #deps: IdentityDeps;
  readonly #limit: RateLimit;
  #attestsInFlight = 0;

  constructor(deps: IdentityDeps) {
    this.#deps = deps;
    this.#limit = new RateLimit(deps.clock, ISSUES_PER_SECOND, ISSUES_BURST, KEYS_MAX);
  }

  async issue(request: IssueRequest, _context?: HandlerContext): Promise<IssueResponse> {
    // The token itself is kept nowhere.
    if (!this.#limit.take(`token ${createHash("sha256").update(request.token).digest("base64url")}`)) throw this.#rateLimited("token");
    const verdict = await this.#attest(request);
    if (verdict.outcome === "refused") {
      const code = verdict.malformed ? Code.InvalidArgument : Code.Unauthenticated;
      throw this.#fail("refused", rpcError(code, verdict.code, verdict.detail));
    }
    if (!this.#limit.take(`identity ${verdict.identity}`)) throw this.#rateLimited(verdict.identity);
    return this.#sign(request, verdict.identity);
  }

  async #attest(request: IssueRequest): Promise<Verdict> {
    if (this.#attestsInFlight >= ATTESTS_IN_FLIGHT_MAX) {
      throw this.#fail("rate_limited", rpcError(Code.ResourceExhausted, "WEFT_RATE_LIMITED", "too many callers at once"));
    }
    this.#attestsInFlight++;
    try {
      return await attest(request, this.#deps.attestor, this.#deps.authority.trustDomain);
    } catch (error) {
      this.#deps.logger.warn("the attestor cannot be asked", { error: (error as Error).message });
      throw this.#fail("unavailable", rpcError(Code.Unavailable, "WEFT_IDENTITY_UNAVAILABLE", "tokens cannot be checked now"));
    } finally {
      this.#attestsInFlight--;
    }
  }

  async #sign(request: IssueRequest, identity: string): Promise<IssueResponse> {
    const { authority, settings, logger, metrics } = this.#deps;
    const { ttlMs, renewAfterPercent } = settings();
    const issued = await authority
      .issue({ profile: WORKLOAD, publicKey: request.publicKey, uri: identity, ttlMs })
      .catch((error: Error) => ({ refused: error.message }));
    if ("refused" in issued) {
      logger.error("a certificate cannot be issued", { identity, reason: issued.refused });
      throw this.#fail("unavailable", rpcError(Code.Unavailable, "WEFT_IDENTITY_UNAVAILABLE", "no certificate can be issued now"));
    }
    metrics.add("weft_ca_issued_total", { outcome: "issued" satisfies Outcome });
    logger.info("certificate issued", { identity, notAfter: new Date(issued.notAfterMs).toISOString() });
    return create(IssueResponseSchema, {
      chain: [...issued.chain],
      roots: authority.roots(),
      spiffeId: identity,
      trustDomain: authority.trustDomain,
      notBeforeMs: BigInt(issued.notBeforeMs),
      notAfterMs: BigInt(issued.notAfterMs),
      renewAfterPercent,
    });
  }

  #rateLimited(what: string): ConnectError {
    this.#deps.logger.warn("certificates are asked for too often", { by: what });
    return this.#fail(
      "rate_limited",
      rpcError(Code.ResourceExhausted, "WEFT_RATE_LIMITED", `at most ${ISSUES_PER_SECOND} certificates a second`),
    );
  }

  #fail(outcome: Outcome, error: ConnectError): ConnectError {
    this.#deps.metrics.add("weft_ca_issued_total", { outcome });
    if (outcome === "refused") this.#deps.logger.warn("certificate refused", { reason: error.rawMessage });
    return error;
  }
}
