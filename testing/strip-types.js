import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";

const self = readFileSync(new URL(import.meta.url));

/** The whole jest transform: what Node itself does to a .ts file. */
export default {
  process(source) {
    return { code: stripTypeScriptTypes(source, { mode: "strip" }) };
  },
  getCacheKey(source, path) {
    return createHash("sha256").update(self).update(process.version).update(path).update(source).digest("hex");
  },
};
