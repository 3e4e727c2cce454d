/** RFC 9110 section 9 and PATCH (RFC 5789): OpenTelemetry's list of known methods. */
const METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]);

/** The method as label, or `_OTHER`: a client chooses the method, and would choose the number of series with it. Methods are case-sensitive. */
export function methodLabel(method: string): string {
  return METHODS.has(method) ? method : "_OTHER";
}

const STATUS: readonly string[] = Array.from({ length: 600 }, (_, status) => (status < 100 ? "" : String(status)));

/** The status as label without making a string; "" for none (0) and for what is no status code. */
export function statusLabel(status: number): string {
  return STATUS[status] ?? "";
}
