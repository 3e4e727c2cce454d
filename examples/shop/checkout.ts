import { randomUUID } from "node:crypto";
import { Refused, serve } from "./service.ts";
import { Upstream } from "./upstream.ts";

const cart = new Upstream("cart", 8083);
const catalog = new Upstream("catalog", 8081);

/** Turns a cart into an order: prices from the catalog, then the cart is emptied. */
serve(8084, async ({ method, path: [orders, user] }) => {
  if (method !== "POST" || orders !== "orders" || user === undefined) throw new Refused(404, "try POST /orders/ada");
  const place = `/carts/${encodeURIComponent(user)}`;
  const { body } = await cart.get(place);
  const { items = [] } = body as { items?: { product: string; quantity: number }[] };
  const { products } = (await catalog.get("/products")).body as { products: { id: string; price: number }[] };
  const total = items.reduce((sum, { product, quantity }) => sum + quantity * (products.find((p) => p.id === product)?.price ?? 0), 0);
  await cart.call("DELETE", place, undefined, {});
  return { status: 201, body: { order: randomUUID(), user, items, total } };
});
