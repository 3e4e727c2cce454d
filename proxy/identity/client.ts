import { createHash, createPrivateKey, generateKeyPair, type KeyObject, sign, X509Certificate } from "node:crypto";
import { promisify } from "node:util";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Clock } from "#api/clock.ts";
import { type ErrorCode, ERRORS } from "#api/errors.ts";
import { IdentityService, IssueRequestSchema, type IssueResponse, IssueResponseSchema } from "#api/gen/weft/identity/v1/identity_pb.ts";
import type { SpiffeId } from "#api/spiffe.ts";
import { callOnce, GrpcError } from "../control/grpc-channel.ts";
import { DEADLINE_EXCEEDED, INVALID_ARGUMENT, PERMISSION_DENIED, UNAUTHENTICATED } from "../protocol/grpc/status.ts";
import { NoBundleError, NotTheOperatorError, operatorTls } from "./operator-tls.ts";
import { judgeSvid } from "./san.ts";

export interface FetchOptions {
  /** "address:port" of the operator's gRPC port. */
  readonly address: string;
  /** PEM roots known beforehand, one of which issued the operator's certificate. */
  readonly bundlePem: string;
  readonly trustDomain: string;
  /** Proves who we are; at most 16 KiB. Space around it is cut: files end in a line feed. */
  readonly token: string;
  readonly clock: Clock;
  /** From the call to the whole answer. Default 10 s. */
  readonly timeoutMs?: number;
}

/** A key, its X509-SVID and what is needed to use them. Nothing in it is shared: the key never left this process. */
export interface FetchedIdentity {
  /** PKCS #8, P-256. */
  readonly keyPem: string;
  /** Leaf first, without the root. */
  readonly chainPem: readonly string[];
  readonly rootsPem: readonly string[];
  readonly spiffeId: SpiffeId;
  readonly trustDomain: string;
  /** From the leaf itself, wall milliseconds. notBefore lies some minutes before the issue. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** When it was received, by our own clock; what rotation counts from. */
  readonly issuedAtMs: number;
  /** Part of the lifetime after which to renew, 1 to 95 percent. */
  readonly renewAfterPercent: number;
}

/** Why there is no SVID: `code` with its remedy in api/errors.ts, and whether the same call may succeed later. */
export class IdentityError extends Error {
  readonly code: ErrorCode;
  readonly retryable: boolean;

  constructor(code: ErrorCode, retryable: boolean, detail: string, cause?: unknown) {
    super(`${code}: ${detail}`, { cause });
    this.name = "IdentityError";
    this.code = code;
    this.retryable = retryable;
  }
}

const TIMEOUT_MS = 10_000;
const RENEW_PERCENT_DEFAULT = 50;
/** A chain with roots is a few KiB. */
const ANSWER_BYTES_MAX = 1024 * 1024;
const CERTIFICATES_MAX = 64;
const makeKey = promisify(generateKeyPair);

/**
 * Asks the operator for an X509-SVID: makes a P-256 key, proves that it holds it, and checks the answer
 * (our key, our trust domain, a chain that ends in one of the roots) before it hands it out. Also the client
 * of `weft identity fetch`.
 *
 * Rejects with `IdentityError` only: WEFT_TOKEN_REFUSED and WEFT_KEY_REFUSED (asking again is useless with
 * the same token), WEFT_PEER_IDENTITY (something else answers there), WEFT_TLS_FAILED (the bundle does not verify it),
 * WEFT_CONNECT_FAILED, WEFT_CONNECT_TIMEOUT and WEFT_IDENTITY_UNAVAILABLE (ask again).
 */
export async function fetchIdentity(options: FetchOptions): Promise<FetchedIdentity> {
  const { privateKey, publicKey } = await makeKey("ec", { namedCurve: "P-256" });
  const token = options.token.trim();
  const answer = await issue(options, {
    publicKey: publicKey.export({ type: "spki", format: "der" }),
    token,
    proof: proofOf(token, privateKey),
  });
  return check(answer, privateKey, options);
}

/** The proof of possession of identity.proto: binds the key to this token, so that neither can be replayed with another. */
export function proofOf(token: string, privateKey: KeyObject): Buffer {
  const tokenHash = createHash("sha256").update(token, "utf8").digest("hex");
  return sign("sha256", Buffer.from(`weft-identity-proof-v1\n${tokenHash}`, "utf8"), privateKey);
}

const ISSUE_PATH = `/${IdentityService.typeName}/${IdentityService.method.issue.name}`;

async function issue(options: FetchOptions, request: { publicKey: Uint8Array; token: string; proof: Uint8Array }): Promise<IssueResponse> {
  const { address, clock } = options;
  try {
    const tls = operatorTls({ trustDomain: options.trustDomain, rootsPem: options.bundlePem });
    const message = toBinary(IssueRequestSchema, create(IssueRequestSchema, request));
    const channel = { address, tls, clock, messageBytesMax: ANSWER_BYTES_MAX };
    return fromBinary(IssueResponseSchema, await callOnce(channel, ISSUE_PATH, message, options.timeoutMs ?? TIMEOUT_MS));
  } catch (error) {
    throw failureOf(error);
  }
}

function failureOf(error: unknown): IdentityError {
  const chain = causes(error);
  const detail = error instanceof Error ? error.message : String(error);
  const status = error instanceof GrpcError ? error.status : null;
  if (status?.code === DEADLINE_EXCEEDED && !status.fromPeer) return new IdentityError("WEFT_CONNECT_TIMEOUT", true, detail, error);
  const impostor = chain.find((cause) => cause instanceof NotTheOperatorError);
  if (impostor !== undefined) return new IdentityError("WEFT_PEER_IDENTITY", false, impostor.message, error);
  if (error instanceof NoBundleError || chain.some((cause) => TLS_CODE.test(codeOf(cause))))
    return new IdentityError("WEFT_TLS_FAILED", false, detail, error);
  if (chain.some((cause) => /^E[A-Z]+$/.test(codeOf(cause)))) return new IdentityError("WEFT_CONNECT_FAILED", true, detail, error);
  const retryable = status === null || ![UNAUTHENTICATED, PERMISSION_DENIED, INVALID_ARGUMENT].includes(status.code);
  // The operator leads its message with the code. The trailer `weft-code` is for others: our codec lets no field of that prefix pass.
  const said = /^WEFT_[A-Z0-9_]+(?=: )/.exec(status?.message ?? "")?.[0] ?? "";
  if (Object.hasOwn(ERRORS, said)) return new IdentityError(said as ErrorCode, retryable, detail.replace(`${said}: `, ""), error);
  const code = retryable ? "WEFT_IDENTITY_UNAVAILABLE" : status?.code === INVALID_ARGUMENT ? "WEFT_KEY_REFUSED" : "WEFT_TOKEN_REFUSED";
  return new IdentityError(code, retryable, detail, error);
}

/** OpenSSL's verification results as Node names them, and TLS errors. */
const TLS_CODE = /^(CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH|ERR_SSL_|ERR_TLS_|ERR_OSSL_)/;

/** An error and what caused it, outermost first. By shape: errors of Node may come from another realm than our `Error`. */
function causes(error: unknown): object[] {
  const chain: object[] = [];
  for (let e = error; typeof e === "object" && e !== null && chain.length < 8; e = "cause" in e ? e.cause : null) chain.push(e);
  return chain;
}

function codeOf(error: object): string {
  return "code" in error && typeof error.code === "string" ? error.code : "";
}

/** What the operator says is checked like anybody's word: a wrong SVID would fail at every peer, far from its cause. */
function check(answer: IssueResponse, privateKey: KeyObject, options: FetchOptions): FetchedIdentity {
  const unusable = (why: string): IdentityError =>
    new IdentityError("WEFT_IDENTITY_UNAVAILABLE", true, `the operator's answer is of no use: ${why}`);
  const chain = certificates(answer.chain);
  const roots = certificates(answer.roots);
  const leaf = chain?.[0];
  if (chain === null || roots === null || leaf === undefined || roots.length === 0)
    throw unusable("chain or roots are missing or unreadable");
  const judged = judgeSvid(leaf.raw);
  if ("refused" in judged) throw unusable(judged.refused);
  if (judged.id !== answer.spiffeId) throw unusable(`the certificate is ${judged.id}, the answer says ${answer.spiffeId}`);
  if (judged.trustDomain !== options.trustDomain) throw unusable(`trust domain ${judged.trustDomain} is not ${options.trustDomain}`);
  if (!leaf.checkPrivateKey(privateKey)) throw unusable("the certificate is for another key");
  if (!leadsToRoot(chain, roots)) throw unusable("the chain does not end in one of the roots");
  const percent = answer.renewAfterPercent;
  return {
    keyPem: privateKey.export({ type: "pkcs8", format: "pem" }) as string,
    chainPem: chain.map((c) => c.toString()),
    rootsPem: roots.map((c) => c.toString()),
    spiffeId: judged.id,
    trustDomain: judged.trustDomain,
    notBeforeMs: leaf.validFromDate.getTime(),
    notAfterMs: leaf.validToDate.getTime(),
    issuedAtMs: options.clock.wallMs(),
    renewAfterPercent: percent >= 1 && percent <= 95 ? percent : RENEW_PERCENT_DEFAULT,
  };
}

/** Null when one is unreadable or there are absurdly many. */
export function certificates(ders: readonly Uint8Array[]): X509Certificate[] | null {
  if (ders.length > CERTIFICATES_MAX) return null;
  try {
    return ders.map((der) => new X509Certificate(der));
  } catch {
    return null;
  }
}

/** Each certificate is signed by the next and the last by a root. */
export function leadsToRoot(chain: readonly X509Certificate[], roots: readonly X509Certificate[]): boolean {
  return chain.every((c, i) => {
    const issuers = i + 1 < chain.length ? [chain[i + 1]!] : roots;
    return issuers.some((issuer) => c.checkIssued(issuer) && c.verify(issuer.publicKey));
  });
}

/** True when the PEM key belongs to the certificate. Never throws. */
export function holdsKey(keyPem: string, leaf: X509Certificate): boolean {
  try {
    return leaf.checkPrivateKey(createPrivateKey(keyPem));
  } catch {
    return false;
  }
}
