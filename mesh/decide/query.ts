import { escapedOctet } from "./octets.ts";

/**
 * The first value of the parameter `name` in a query, as octets; null when there is none. Names and
 * values are form-decoded (WHATWG URL §5.1): "+" is a blank, "%XX" an octet, an invalid escape stands for
 * itself. Pairs are separated by "&" only; "a" and "a=" both have the value "". Names are case-sensitive.
 */
export function queryParameter(query: string, name: string): string | null {
  const length = query.length;
  for (let start = 0; start < length; ) {
    let end = query.indexOf("&", start);
    if (end < 0) end = length;
    let equals = query.indexOf("=", start);
    if (equals < 0 || equals > end) equals = end;
    // An empty pair ("a=1&&b=2") is no parameter, not one without a name.
    if (end > start && formDecode(query.slice(start, equals)) === name) return formDecode(query.slice(equals + 1, end));
    start = end + 1;
  }
  return null;
}

function formDecode(text: string): string {
  if (!text.includes("%") && !text.includes("+")) return text;
  let out = "";
  for (let i = 0; i < text.length; i++) {
    const char = text[i] as string;
    const octet = char === "%" ? escapedOctet(text, i) : -1;
    if (octet >= 0) i += 2;
    out += octet >= 0 ? String.fromCharCode(octet) : char === "+" ? " " : char;
  }
  return out;
}
