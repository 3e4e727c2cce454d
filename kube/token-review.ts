import type { Attested, Attestor } from "#api/store.ts";
import type { KubeClient } from "./client.ts";
import { asKubeError, record, text } from "./kube-error.ts";
import { objectPath, PODS } from "./resource.ts";

/** Audience that a token must be for: one for the API server proves nothing to us, and ours opens nothing there. */
export const TOKEN_AUDIENCE = "weft";
/** Longer ones are no tokens. A bound token has about 1,500 characters. */
const TOKEN_CHARS_MAX = 16 * 1024;
const EXTRA = "authentication.kubernetes.io/";
const USER = /^system:serviceaccount:([a-z0-9][-a-z0-9]*):([a-z0-9][-a-z0-9.]*)$/;

/**
 * Asks the API server who holds a token, and whether the pod that it is bound to is there and is what the token says:
 * same uid, same service account, same namespace. A token that is bound to no pod proves nothing.
 */
export class TokenReviewer implements Attestor {
  readonly #client: KubeClient;

  constructor(client: KubeClient) {
    this.#client = client;
  }

  async attest(token: string): Promise<Attested | null> {
    if (token === "" || token.length > TOKEN_CHARS_MAX) return null;
    const { body } = await this.#client.request({
      method: "POST",
      path: "/apis/authentication.k8s.io/v1/tokenreviews",
      body: {
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenReview",
        spec: { token, audiences: [TOKEN_AUDIENCE] },
      },
    });
    const claimed = readReview(body);
    if (claimed === null) return null;
    return (await this.#isThere(claimed)) ? claimed : null;
  }

  /** The server checks the binding too, from a cache of its own; a certificate outlives the answer, so it is looked at once more. */
  async #isThere({ namespace, serviceAccount, pod, podUid }: Attested): Promise<boolean> {
    try {
      const { body } = await this.#client.request({ method: "GET", path: objectPath(PODS, namespace, pod) });
      const { metadata, spec } = record(body);
      return record(metadata)["uid"] === podUid && (text(record(spec)["serviceAccountName"]) || "default") === serviceAccount;
    } catch (error) {
      if (asKubeError(error).status === 404) return false;
      throw error;
    }
  }
}

/** Who the answer to a TokenReview says it is; null unless everything is said. */
export function readReview(body: unknown): Attested | null {
  const { authenticated, audiences, user, error } = record(record(body)["status"]);
  if (authenticated !== true || text(error) !== "") return null;
  // A server that knows no audiences leaves them out, and would have accepted any.
  if (!Array.isArray(audiences) || !audiences.includes(TOKEN_AUDIENCE)) return null;
  const { username, extra } = record(user);
  const [, namespace, serviceAccount] = USER.exec(text(username)) ?? [];
  const pod = only(record(extra)[`${EXTRA}pod-name`]);
  const podUid = only(record(extra)[`${EXTRA}pod-uid`]);
  if (namespace === undefined || serviceAccount === undefined || pod === "" || podUid === "") return null;
  return { namespace, serviceAccount, pod, podUid };
}

/** The one value of a list; "" for none or several. */
function only(values: unknown): string {
  return Array.isArray(values) && values.length === 1 ? text(values[0]) : "";
}
