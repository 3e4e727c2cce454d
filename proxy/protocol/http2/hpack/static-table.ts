/** HPACK's static table (RFC 7541 appendix A): indices 1 to 61, a name a line where only its value is empty. */

const LINES = `:authority|:method GET|:method POST|:path /|:path /index.html|:scheme http|:scheme https|:status 200|:status 204
:status 206|:status 304|:status 400|:status 404|:status 500|accept-charset|accept-encoding gzip, deflate|accept-language
accept-ranges|accept|access-control-allow-origin|age|allow|authorization|cache-control|content-disposition
content-encoding|content-language|content-length|content-location|content-range|content-type|cookie|date|etag|expect
expires|from|host|if-match|if-modified-since|if-none-match|if-range|if-unmodified-since|last-modified|link|location
max-forwards|proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after|server|set-cookie
strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate`;

/** Names by index; index 0 is unused. */
export const STATIC_NAMES: readonly string[] = ["", ...LINES.split(/[|\n]/).map((line) => line.split(" ")[0]!)];

/** Values by index. */
export const STATIC_VALUES: readonly string[] = [
  "",
  ...LINES.split(/[|\n]/).map((line) => (line.includes(" ") ? line.slice(line.indexOf(" ") + 1) : "")),
];

/** Entries of the static table. The dynamic table begins after them. */
export const STATIC_ENTRIES = 61;

const firstOfName = new Map<string, number>();
const valuesOfName = new Map<string, Map<string, number>>();
for (let index = 1; index <= STATIC_ENTRIES; index++) {
  const name = STATIC_NAMES[index]!;
  if (!firstOfName.has(name)) firstOfName.set(name, index);
  const value = STATIC_VALUES[index]!;
  if (value === "") continue;
  const values = valuesOfName.get(name) ?? new Map<string, number>();
  valuesOfName.set(name, values.set(value, index));
}

/** The first index with this name; 0 where there is none. */
export function staticNameIndex(name: string): number {
  return firstOfName.get(name) ?? 0;
}

/** Index by value of the entries with this name that have one; null where there is none. */
export function staticValueIndices(name: string): ReadonlyMap<string, number> | null {
  return valuesOfName.get(name) ?? null;
}
