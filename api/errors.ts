/**
 * Every error code of Weft: what happened and what to do about it. Codes are never reused. Each is an
 * anchor in docs/troubleshooting.md; a tidy test compares the two lists. The remedy goes to logs, CLI and
 * status, never into a response body (it may name policies).
 */
export interface ErrorEntry {
  /** One line, no trailing full stop; `docs/troubleshooting.md` says more. */
  readonly summary: string;
  readonly remedy: string;
}

export const ERRORS = {
  // Data plane: answered to a request or logged of a connection.
  WEFT_BAD_REQUEST: {
    summary: "the request breaks RFC 9112 or 9110 in a way that two parsers could read differently",
    remedy: "send one unambiguous framing and valid field names; the log line's `detail` says what was wrong",
  },
  WEFT_HEAD_TOO_LARGE: {
    summary: "request line and fields are larger than 64 KiB or more than 200 fields",
    remedy: "send smaller fields; cookies are the usual cause",
  },
  WEFT_NO_ROUTE: {
    summary: "the service has routes and none matches the request",
    remedy: "add a route without matches as the last one, or run the request through the matches listed in `weft get trafficpolicy`",
  },
  WEFT_NO_BACKEND: {
    summary: "the matched route has no backend that resolves",
    remedy: "see the policy's ResolvedRefs condition: a subset or Service that a backendRef names does not exist, or all weights are 0",
  },
  WEFT_NO_ENDPOINT: {
    summary: "the upstream cluster has no ready endpoint",
    remedy: "check that the Service's selector matches pods and that they are ready: `weft get endpointslices`",
  },
  WEFT_CONNECT_FAILED: {
    summary: "no connection to the endpoint could be made",
    remedy: "check that the endpoint's pod runs and that its sidecar listens; the log line names endpoint and system error",
  },
  WEFT_CONNECT_TIMEOUT: {
    summary: "the endpoint did not accept a connection within connections.connectTimeout",
    remedy: "check the network path to the endpoint, or raise connections.connectTimeout",
  },
  WEFT_APP_UNREACHABLE: {
    summary: "the application does not accept connections on its port",
    remedy: "the app must listen on the address in HOST (standalone) or on the pod IP, on its containerPort; see the pod's log",
  },
  WEFT_PEER_IDENTITY: {
    summary: "the upstream's certificate does not carry the SPIFFE id that its endpoint must have",
    remedy: "something else answers at that address; if pods were just replaced it passes by itself, otherwise find who listens there",
  },
  WEFT_TLS_FAILED: {
    summary: "the TLS handshake failed",
    remedy:
      "the detail names the TLS error; an unknown CA means that the two sides have different trust bundles, an expired certificate that one cannot reach the operator",
  },
  WEFT_PLAINTEXT_REFUSED: {
    summary: "a connection without TLS reached a port in Strict mode",
    remedy: "bring the caller into the mesh, or set mtls.mode: Permissive for this workload",
  },
  WEFT_UPSTREAM_RESET: {
    summary: "the upstream ended the connection or stream before its response was complete",
    remedy: "see the upstream's own log at that time; a crash or a deploy without drain are the usual causes",
  },
  WEFT_UPSTREAM_PROTOCOL: {
    summary: "the upstream's response breaks HTTP",
    remedy: "the detail says how; the response was not passed on because another parser could read it differently",
  },
  WEFT_REQUEST_TIMEOUT: {
    summary: "the response did not end within timeouts.request",
    remedy: "raise the route's timeouts.request or find out what is slow",
  },
  WEFT_BACKEND_TIMEOUT: {
    summary: "one attempt did not end within timeouts.backendRequest",
    remedy: "raise the route's timeouts.backendRequest or find out what is slow",
  },
  WEFT_IDLE_TIMEOUT: {
    summary: "no byte moved in either direction for timeouts.idle",
    remedy: "raise the route's timeouts.idle if such pauses are normal",
  },
  WEFT_OVERLOADED: {
    summary: "the proxy's buffers are at their limit",
    remedy: "a reader is slower than its writer on many streams; scale the slow side",
  },
  WEFT_FAULT_ABORT: {
    summary: "the request was aborted on purpose by faults.abort of its route",
    remedy: "remove faults.abort from the route to stop it",
  },
  WEFT_NOT_READY: {
    summary: "the proxy has not yet received what it needs to know of this service",
    remedy: "the operator was silent for 3 s on first use; check `weft get pods` and the operator's log",
  },
  WEFT_UNKNOWN_SERVICE: {
    summary: "there is no such Service or port",
    remedy: "apply the Service, or correct the name the application uses",
  },
  WEFT_LOOP: {
    summary: "a connection was made to one of the proxy's own ports, or its request has passed this proxy before",
    remedy: "connect to the Service, not to the proxy",
  },
  WEFT_DRAINING: {
    summary: "the workload is going away and takes no new requests",
    remedy: "none needed: callers go elsewhere",
  },
  // Resources: reasons in an object's status.
  WEFT_INVALID_FIELD: {
    summary: "a field has a value that its type does not allow",
    remedy: "correct the field that the message names",
  },
  WEFT_UNKNOWN_FIELD: {
    summary: "the object has a field that its kind does not define",
    remedy: "remove it or correct its spelling; the message names the nearest known field",
  },
  WEFT_UNSUPPORTED_FIELD: {
    summary: "a field or kind is defined but this version of Weft does not act on it yet",
    remedy: "remove it; the last good generation stays in force meanwhile",
  },
  WEFT_CONFLICTED: {
    summary: "an older policy already applies to the same target",
    remedy: "merge the two policies or delete one; the message names the other",
  },
  WEFT_TARGET_NOT_FOUND: {
    summary: "the object that targetRefs names does not exist",
    remedy: "apply the Service or correct targetRefs",
  },
  WEFT_EMPTY_SUBSET: {
    summary: "a subset selects no pod of the Service",
    remedy: "correct the subset's matchLabels or the pods' labels; requests for it are answered 500 until then",
  },
  WEFT_BACKEND_NOT_FOUND: {
    summary: "a backendRef names a subset, Service or port that does not exist",
    remedy: "define the subset or apply the Service; its share of requests is answered 500 until then",
  },
  // Identity and discovery.
  WEFT_TOKEN_REFUSED: {
    summary: "the token does not prove who the caller is",
    remedy: "it is expired, has another audience or belongs to a pod that is gone; a restarted pod gets a new one",
  },
  WEFT_KEY_REFUSED: {
    summary: "the public key or its proof of possession is not acceptable",
    remedy: "send an ECDSA P-256 key as SubjectPublicKeyInfo and sign the proof with it",
  },
  WEFT_IDENTITY_UNAVAILABLE: {
    summary: "the CA cannot issue now",
    remedy: "see the operator's log; the certificate in use stays valid until its end, and the proxy tries again",
  },
  WEFT_RATE_LIMITED: {
    summary: "this identity, token or address asks too often",
    remedy: "wait and ask again with backoff; a proxy asks about once in half a certificate's lifetime",
  },
  WEFT_NO_SVID: {
    summary: "discovery needs a client certificate of this mesh",
    remedy: "get an SVID first (`weft identity fetch`) and present it; if there is one, it is expired or of another trust domain",
  },
  WEFT_BAD_STREAM: {
    summary: "a discovery stream breaks the protocol",
    remedy: "send Hello first and once, and keep to the bounds that the message names; see discovery.proto",
  },
  WEFT_BAD_STATE: {
    summary: "a file in the operator's state folder is broken, open to others, or belongs to another CA",
    remedy: "the message names the file and what to do; nothing was overwritten",
  },
  WEFT_NOT_YOURS: {
    summary: "the caller's identity may not read this document",
    remedy: "a proxy may subscribe to its own workload document only",
  },
  WEFT_UNKNOWN_FEATURE: {
    summary: "the document needs a feature that this proxy lacks",
    remedy: "upgrade the proxy (restart the pod); it keeps the last good document meanwhile",
  },
  WEFT_BAD_DOCUMENT: {
    summary: "a document could not be read or contradicts itself",
    remedy: "this is a bug in Weft or a proxy older than N-1; the last good document stays in force",
  },
  WEFT_STALE_DOCUMENT: {
    summary: "a document is older than the one the proxy holds",
    remedy: "none needed: an operator replica lags behind and sends the newer one when it has caught up",
  },
  // Admission and injection.
  WEFT_BAD_POD_SETTING: {
    summary: "a weft.dev label or annotation of a pod has a value that is not known",
    remedy: "correct the value that the message names; `weft inject` shows the same offline",
  },
  WEFT_PROXY_UID: {
    summary: "a container runs as user 16800, which is the proxy's: its traffic would not be captured",
    remedy: "take another user id for the container",
  },
  WEFT_NETWORK_CAPABILITY: {
    summary: "a container of a meshed pod may change the pod's network rules",
    remedy: "remove NET_ADMIN, NET_RAW, ALL or privileged, or leave the pod out of the mesh",
  },
  WEFT_RESERVED_NAME: {
    summary: "a container or volume of a pod has a name that the sidecar needs, or uses the sidecar's volumes",
    remedy: "rename it: weft-init, weft-proxy, weft-state and weft-token are taken in meshed pods",
  },
  WEFT_RESERVED_PORT: {
    summary: "a container of a meshed pod uses one of the proxy's ports, 16801 to 16804",
    remedy: "have the app listen on another port",
  },
  WEFT_NOT_INJECTED: {
    summary: "a pod that should be in the mesh was admitted without a sidecar",
    remedy: "see that the injector runs (`kubectl -n weft-system get pods`) and create the pod anew",
  },
  WEFT_BAD_REVIEW: {
    summary: "a request to the webhook is no AdmissionReview v1 that can be read",
    remedy: "the API server sends none such: find who calls the injector's port, and close it to all but the API server",
  },
  WEFT_INJECTOR_NOT_READY: {
    summary: "the injector lacks a certificate or the trust bundle",
    remedy: "the message names the file that is missing; the operator writes both once it runs",
  },
  // Standalone and CLI.
  WEFT_BAD_YAML: {
    summary: "a file is not YAML that can be read",
    remedy: "correct it at the line shown; until then what it said last stays in force",
  },
  WEFT_BAD_MANIFEST: {
    summary: "a manifest cannot be run on this machine",
    remedy: "the message names file, line and field, and what to write instead",
  },
  WEFT_COMMAND_MISSING: {
    summary: "a container has no command",
    remedy: "standalone mode does not read images: give the container a `command`",
  },
  WEFT_APP_NOT_LISTENING: {
    summary: "the app runs but does not listen on HOST:PORT",
    remedy: "make it listen on the address in HOST and the port in PORT (the first containerPort)",
  },
  WEFT_RUN_BUSY: {
    summary: "another run holds the address range or the state folder",
    remedy: "stop the other run, or let this one take another free range",
  },
  WEFT_RANGE_EXHAUSTED: {
    summary: "the address range of the run is used up",
    remedy:
      "name the Services that a pod calls in its annotation weft.dev/upstreams: without it each pod takes an address per Service of its namespace",
  },
  WEFT_NO_RUN: {
    summary: "no `weft run` is active in this folder",
    remedy: "start one with `weft run DIR`, or name its state folder with --state",
  },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;

/** `WEFT_X: summary (remedy)` for people at a terminal. */
export function describe(code: ErrorCode, detail = ""): string {
  const entry: ErrorEntry = ERRORS[code];
  return `${code}: ${detail === "" ? entry.summary : detail}. ${entry.remedy}`;
}
