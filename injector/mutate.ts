import { decide, type SkipReason } from "./decide.ts";
import { patchFor } from "./patch.ts";
import type { ReviewRequest, Verdict } from "./review.ts";
import { refusal } from "./refusal.ts";
import type { InjectionSettings } from "./settings.ts";

const WHY: Readonly<Record<SkipReason, string>> = {
  "system-namespace": "pods of the cluster's and of Weft's own namespace are never injected",
  "mirror-pod": "the kubelet's copy of a static pod cannot be changed",
  windows: "Windows pods cannot be meshed",
  "host-network": "pods with hostNetwork cannot be meshed",
  disabled: "weft.dev/inject is disabled",
  "not-asked": "neither the pod nor its namespace has weft.dev/inject: enabled",
};

/** Answers a review at the mutating webhook. `settings` is null while the injector lacks what a sidecar needs. */
export function mutate(
  request: ReviewRequest,
  namespaceLabels: Readonly<Record<string, string>>,
  systemNamespace: string,
  settings: InjectionSettings | null,
): Verdict {
  const { kind, subResource, operation, object: pod, namespace } = request;
  if (kind.kind !== "Pod" || kind.group !== "" || subResource !== "" || operation !== "CREATE")
    return { allowed: true, outcome: "unchanged" };
  const decision = decide({ pod, namespace, namespaceLabels, systemNamespace });
  if (decision.action === "skip") return { allowed: true, outcome: "skipped", message: WHY[decision.reason], warnings: decision.warnings };
  if (decision.action === "refuse") return refusal(decision.problems, 403);
  if (settings === null) {
    // Better no pod than one whose traffic is not protected; who wants the other chooses failurePolicy: Ignore.
    const message = "WEFT_INJECTOR_NOT_READY: the injector has no trust bundle yet, so a sidecar could trust nobody. See `weft check`";
    return { allowed: false, outcome: "unavailable", status: 503, code: "WEFT_INJECTOR_NOT_READY", message };
  }
  const patch = patchFor(pod, settings);
  return { allowed: true, outcome: patch.length === 0 ? "unchanged" : "injected", patch, warnings: decision.warnings };
}
