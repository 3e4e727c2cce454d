import type { KubeObject } from "#api/resources/kube.ts";
import type { KubeClient } from "./client.ts";
import { asKubeError, type StatusCause } from "./kube-error.ts";
import { objectPath, resourceOf } from "./resource.ts";

export interface ApplyOptions {
  /** Who owns the fields that are sent: one stable name per writer, or nobody ever removes what an earlier one left. */
  readonly fieldManager: string;
  /** Take fields that another manager owns. For controllers, of their own fields. */
  readonly force: boolean;
  /** "status": only that part. Then the object must exist. */
  readonly subresource?: "status";
  readonly dryRun?: boolean;
  readonly signal?: AbortSignal;
}

/** What came of a server-side apply that the server answered. */
export type Applied =
  | { readonly outcome: "applied"; readonly object: KubeObject; readonly created: boolean }
  /** Others own fields that were sent. */
  | { readonly outcome: "conflict"; readonly conflicts: readonly FieldConflict[]; readonly message: string }
  /**
   * `metadata.uid` was sent and the object of that name is another one, or `metadata.resourceVersion` and it has changed
   * since. A subresource ignores the uid.
   */
  | { readonly outcome: "changed"; readonly message: string }
  /** There is no such object (of a subresource), namespace or kind. */
  | { readonly outcome: "missing"; readonly message: string }
  /** The server will not have it, now or later: a schema, a rule, admission. */
  | { readonly outcome: "invalid"; readonly causes: readonly StatusCause[]; readonly message: string };

export interface FieldConflict {
  readonly field: string;
  /** As the server says it: `conflict with "NAME"…`. */
  readonly message: string;
}

/**
 * Server-side apply: makes the fields that are sent so, and removes those that this manager sent before and sends no
 * more. Send owned fields only. Rejects with KubeError when the server could not be asked or may not be (403, 5xx).
 */
export async function apply(client: KubeClient, object: KubeObject, options: ApplyOptions): Promise<Applied> {
  const { apiVersion, kind, metadata } = object;
  const resource = resourceOf(apiVersion, kind);
  if (resource === null) throw new Error(`${apiVersion} ${kind} is not in kube/resource.ts`);
  const { fieldManager, force, subresource = "", dryRun = false, signal } = options;
  try {
    const { status, body } = await client.request({
      method: "PATCH",
      path: objectPath(resource, metadata.namespace ?? "", metadata.name, subresource),
      query: { fieldManager, force: String(force), fieldValidation: "Strict", ...(dryRun ? { dryRun: "All" } : {}) },
      body: object,
      contentType: "application/apply-patch+yaml",
      ...(signal === undefined ? {} : { signal }),
    });
    return { outcome: "applied", object: body as KubeObject, created: status === 201 };
  } catch (error) {
    const { status, message, causes } = asKubeError(error);
    if (status === 404) return { outcome: "missing", message };
    // What exists already says so of the uid, what does not is a conflict.
    if (status === 422 && causes.some(({ field }) => field === "metadata.uid")) return { outcome: "changed", message };
    if (status === 400 || status === 422) return { outcome: "invalid", causes, message };
    if (status !== 409) throw error;
    const conflicts = causes
      .filter(({ reason }) => reason === "FieldManagerConflict")
      .map((cause) => ({ field: cause.field, message: cause.message }));
    // Without fields it is a precondition.
    return conflicts.length > 0 ? { outcome: "conflict", conflicts, message } : { outcome: "changed", message };
  }
}
