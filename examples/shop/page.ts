/** The shop's one page. All it shows comes from the JSON API, so a click is one request through the mesh. */
export const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The Weft shop</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
  article { border: 1px solid #ddd; border-radius: 8px; padding: .8rem 1rem; margin: .8rem 0; }
  h2 { font-size: 1.1rem; margin: 0; }
  button { font: inherit; padding: .15rem .7rem; }
  .note { color: #666; font-size: .9rem; }
</style>
<h1>The Weft shop</h1>
<p class="note">Everything you see came through the mesh. Stars are new in v2 of the reviews: reload to meet them.</p>
<main id="products"></main>
<h2>Your cart</h2>
<p id="cart">empty</p>
<button id="buy">Check out</button>
<p id="message" role="status"></p>
<script type="module">
  const user = "visitor-" + Math.random().toString(36).slice(2, 8);
  const say = (text) => { document.getElementById("message").textContent = text; };
  const ask = async (method, path, body) => {
    const init = body === undefined ? { method } : { method, headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
    const response = await fetch(path, init);
    const answer = await response.json();
    if (!response.ok) throw new Error(response.status + " " + (answer.error ?? ""));
    return answer;
  };
  const guard = (action) => async () => { try { await action(); } catch (error) { say(String(error)); } };
  const money = (cents) => (cents / 100).toFixed(2) + " €";
  const element = (tag, text, parent, className = "") => {
    const made = document.createElement(tag);
    made.textContent = text;
    made.className = className;
    parent.append(made);
    return made;
  };
  const showCart = ({ items }) => {
    document.getElementById("cart").textContent = items.map((i) => i.quantity + " × " + i.product).join(", ") || "empty";
  };
  const show = async (id) => {
    const product = await ask("GET", "/api/products/" + id);
    const card = element("article", "", document.getElementById("products"));
    element("h2", product.name + ", " + money(product.price), card);
    element("p", product.about, card);
    for (const review of product.reviews.reviews) {
      const stars = review.stars === undefined ? "" : "★".repeat(review.stars) + " ";
      element("p", stars + review.by + ": " + review.text, card, "note");
    }
    element("p", "reviews " + product.reviews.version, card, "note");
    element("button", "Add to cart", card).onclick = guard(async () => showCart(await ask("POST", "/api/cart/" + user, { product: id })));
  };
  document.getElementById("buy").onclick = guard(async () => {
    const { order, total } = await ask("POST", "/api/checkout/" + user);
    say("Order " + order + ": " + money(total));
    showCart(await ask("GET", "/api/cart/" + user));
  });
  guard(async () => {
    const { products } = await ask("GET", "/api/products");
    for (const { id } of products) await show(id);
  })();
</script>
</html>
`;
