import { Refused, serve } from "./service.ts";

/** What the shop sells. Prices in cents. */
const PRODUCTS = [
  { id: "shuttle", name: "Boat shuttle", price: 1490, about: "Beech, 30 cm, for two quills" },
  { id: "heddle", name: "Rigid heddle", price: 3250, about: "40 cm, 4 dents a centimetre" },
  { id: "reed", name: "Stainless reed", price: 5900, about: "60 cm, does not rust" },
  { id: "bobbin", name: "Bobbins, box of 12", price: 990, about: "Birch, fit every shuttle that we sell" },
  { id: "loom", name: "Table loom", price: 38900, about: "Eight shafts, folds flat" },
] as const;

serve(8081, ({ method, path: [products, id] }) => {
  if (method !== "GET" && method !== "HEAD") throw new Refused(405, "the catalog can only be read");
  if (products !== "products") throw new Refused(404, "try /products");
  if (id === undefined) return { status: 200, body: { products: PRODUCTS } };
  const product = PRODUCTS.find((p) => p.id === id);
  if (product === undefined) throw new Refused(404, `there is no product ${JSON.stringify(id)}`);
  return { status: 200, body: product };
});
