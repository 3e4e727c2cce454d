import { Refused, serve } from "./service.ts";

/** v2 adds stars. Its two versions are two Deployments behind one Service. */
const VERSION = process.env["VERSION"] ?? "v1";

const OPINIONS: Readonly<Record<string, readonly { readonly by: string; readonly text: string; readonly stars: number }[]>> = {
  shuttle: [{ by: "Ada", text: "Flies through the shed.", stars: 5 }],
  heddle: [
    { by: "Joseph", text: "Even spacing, no splinters.", stars: 4 },
    { by: "Anni", text: "Slots could be smoother.", stars: 3 },
  ],
  reed: [{ by: "Gunta", text: "Will outlive me.", stars: 5 }],
  loom: [{ by: "Charles", text: "Light enough to carry, heavy enough to beat.", stars: 4 }],
};

serve(8082, ({ method, path: [reviews, id] }) => {
  if (method !== "GET" && method !== "HEAD") throw new Refused(405, "reviews can only be read");
  if (reviews !== "reviews" || id === undefined) throw new Refused(404, "try /reviews/shuttle");
  const all = OPINIONS[id] ?? [];
  const shown = VERSION === "v1" ? all.map(({ by, text }) => ({ by, text })) : all;
  return { status: 200, body: { product: id, version: VERSION, reviews: shown }, headers: { "x-reviews-version": VERSION } };
});
