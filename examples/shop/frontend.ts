import { PAGE } from "./page.ts";
import { type Answer, type Call, Refused, serve } from "./service.ts";
import { Upstream, type UpstreamAnswer } from "./upstream.ts";

const catalog = new Upstream("catalog", 8081);
const reviews = new Upstream("reviews", 8082);
const cart = new Upstream("cart", 8083);
const checkout = new Upstream("checkout", 8084);

serve(8080, async (call): Promise<Answer> => {
  const [api, what, id] = call.path;
  if (api === undefined && call.method === "GET") return { status: 200, body: PAGE };
  if (api !== "api") throw new Refused(404, "try / or /api/products");
  switch (`${call.method} ${what}${id === undefined ? "" : "/"}`) {
    case "GET products":
      return pass(await catalog.get("/products"));
    case "GET products/":
      return product(id ?? "", call);
    case "GET cart/":
      return pass(await cart.get(`/carts/${encodeURIComponent(id ?? "")}`));
    case "POST cart/":
      return pass(await cart.post(`/carts/${encodeURIComponent(id ?? "")}`, call.body));
    case "POST checkout/":
      return pass(await checkout.post(`/orders/${encodeURIComponent(id ?? "")}`, {}));
    default:
      throw new Refused(404, "known are /api/products, /api/cart and /api/checkout");
  }
});

/** A product with its reviews. `x-user` is handed on: the mesh routes by it. */
async function product(id: string, { request }: Call): Promise<Answer> {
  const user = request.headers["x-user"];
  const place = encodeURIComponent(id);
  const [found, opinions] = await Promise.all([
    catalog.get(`/products/${place}`),
    reviews.get(`/reviews/${place}`, typeof user === "string" ? { "x-user": user } : {}),
  ]);
  if (found.status !== 200) return pass(found);
  const version = String(opinions.headers["x-reviews-version"] ?? "");
  return { status: 200, body: { ...(found.body as object), reviews: opinions.body }, headers: { "x-reviews-version": version } };
}

function pass({ status, body }: UpstreamAnswer): Answer {
  return { status, body };
}
