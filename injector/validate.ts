import { ERRORS } from "#api/errors.ts";
import type { KubeObject } from "#api/resources/kube.ts";
import { WEFT_GROUP } from "#api/resources/object.ts";
import { validate as problemsOf } from "#mesh/plan/validate.ts";
import { bypasses } from "./bypass.ts";
import { decide } from "./decide.ts";
import { difference } from "./json-patch.ts";
import { isMeshed } from "./recognise.ts";
import { refusal } from "./refusal.ts";
import type { ReviewRequest, Verdict } from "./review.ts";

/** Answers a review at the validating webhook, where the object is as it will be stored. */
export function validate(request: ReviewRequest, namespaceLabels: Readonly<Record<string, string>>, systemNamespace: string): Verdict {
  const { kind, operation } = request;
  if (operation !== "CREATE" && operation !== "UPDATE") return { allowed: true, outcome: "allowed" };
  if (kind.group === WEFT_GROUP) return validateResource(request);
  if (kind.group === "" && kind.kind === "Pod") return validatePod(request, namespaceLabels, systemNamespace);
  return { allowed: true, outcome: "allowed" };
}

/** The same function that writes the Accepted condition judges: what it would not accept is told before it is stored. */
function validateResource({ object, oldObject, operation }: ReviewRequest): Verdict {
  const problems = problemsOf(object as unknown as KubeObject);
  if (problems.length === 0) return { allowed: true, outcome: "allowed" };
  // What was stored before this version knew better must still lose its finalizers and change its labels. The whole spec
  // is compared, never a part of it.
  const unchanged = operation === "UPDATE" && difference(oldObject["spec"], object["spec"]).length === 0;
  if (!unchanged) return refusal(problems, 422);
  const warnings = problems.map(({ path, message }) => `${path}: ${message}`);
  return { allowed: true, outcome: "allowed", warnings };
}

/** Whatever other webhooks did to a pod after us, and containers that are added to a running pod for debugging. */
function validatePod(request: ReviewRequest, namespaceLabels: Readonly<Record<string, string>>, systemNamespace: string): Verdict {
  const { object: pod, namespace, subResource, operation } = request;
  if (subResource === "ephemeralcontainers") {
    const problems = isMeshed(pod) ? bypasses(pod).filter(({ path }) => path.startsWith("spec.ephemeralContainers")) : [];
    return problems.length > 0 ? refusal(problems, 403) : { allowed: true, outcome: "allowed" };
  }
  if (operation !== "CREATE" || subResource !== "") return { allowed: true, outcome: "allowed" };
  const decision = decide({ pod, namespace, namespaceLabels, systemNamespace });
  if (decision.action === "refuse") return refusal(decision.problems, 403);
  if (decision.action === "skip" || isMeshed(pod)) return { allowed: true, outcome: "allowed" };
  // Not refused: where the mutating webhook may fail open, its owner has chosen pods without a sidecar over no pods.
  return {
    allowed: true,
    outcome: "allowed",
    code: "WEFT_NOT_INJECTED",
    warnings: [`WEFT_NOT_INJECTED: ${ERRORS.WEFT_NOT_INJECTED.summary}`],
  };
}
