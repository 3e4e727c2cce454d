import { create } from "@bufbuild/protobuf";
import { StringValueSchema } from "@bufbuild/protobuf/wkt";
import { type Code, ConnectError } from "@connectrpc/connect";
import type { ErrorCode } from "#api/errors.ts";

/** Name of the trailer that carries the WEFT_ code of a failed call. */
export const CODE_TRAILER = "weft-code";

/**
 * A gRPC error as clients of every kind can read it: the WEFT_ code leads the message, stands alone in the
 * trailer `weft-code`, and in the status details as a google.protobuf.StringValue. No remedy: that is for
 * those who read our logs and manuals.
 */
export function rpcError(code: Code, weftCode: ErrorCode, detail: string): ConnectError {
  const value = create(StringValueSchema, { value: weftCode });
  return new ConnectError(`${weftCode}: ${detail}`, code, { [CODE_TRAILER]: weftCode }, [{ desc: StringValueSchema, value }]);
}
