import { KvClient } from "./kv-client.ts";
import { type Answer, Refused, serve } from "./service.ts";

/** What goes into a key of kv: no spaces, no slashes. */
const NAME = /^[A-Za-z0-9_-]{1,64}$/;

const kv = new KvClient();

serve(8083, async ({ method, path: [carts, user = ""], body }): Promise<Answer> => {
  if (carts !== "carts" || !NAME.test(user)) throw new Refused(404, "try /carts/ada");
  if (method === "POST") await add(user, body);
  else if (method === "DELETE") await kv.command(`CLEAR ${user}/`);
  else if (method !== "GET") throw new Refused(405, "a cart takes GET, POST and DELETE");
  return { status: 200, body: { user, items: await items(user) } };
});

async function add(user: string, body: unknown): Promise<void> {
  const { product, quantity = 1 } = (body ?? {}) as { product?: unknown; quantity?: unknown };
  if (typeof product !== "string" || !NAME.test(product)) throw new Refused(400, "product is missing");
  if (typeof quantity !== "number" || !Number.isInteger(quantity) || quantity < 1 || quantity > 100)
    throw new Refused(400, "quantity must be a whole number from 1 to 100");
  await kv.command(`ADD ${user}/${product} ${quantity}`);
}

async function items(user: string): Promise<{ product: string; quantity: number }[]> {
  const lines = await kv.command(`LIST ${user}/`);
  return lines
    .filter((line) => line.startsWith("ITEM "))
    .map((line) => line.split(" "))
    .map(([, key = "", quantity]) => ({ product: key.slice(user.length + 1), quantity: Number(quantity) }));
}
