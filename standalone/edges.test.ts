import assert from "node:assert/strict";
import { EdgeBook, quantile } from "./edges.ts";
import { sentence } from "./events.ts";
import { parseExposition, type Series } from "./exposition.ts";
import { firstRouted } from "./monitor.ts";
import { TextOutput } from "./output.ts";
import { edgeLines } from "./table.ts";

const labels = (status: string, error = ""): string =>
  `server_address="reviews.shop",server_port="80",weft_route="r",weft_subset="v1",weft_peer="spiffe://cluster.local/ns/shop/sa/reviews",weft_tls="mtls",http_request_method="GET",http_response_status_code="${status}",error_type="${error}"`;

const scrape = (ok: number, failed = 0): Series[] =>
  parseExposition(
    `# HELP x y
http_client_request_duration_seconds_bucket{${labels("200")},le="0.001"} ${ok / 2}
http_client_request_duration_seconds_bucket{${labels("200")},le="0.002"} ${ok}
http_client_request_duration_seconds_bucket{${labels("200")},le="+Inf"} ${ok}
http_client_request_duration_seconds_count{${labels("200")}} ${ok}
http_client_request_duration_seconds_count{${labels("503", "WEFT_NO_ENDPOINT")}} ${failed}
weft_tcp_connections_total{direction="outbound",server_address="store.data",server_port="6379",weft_peer="",weft_tls="none",error_type=""} 3
weft_tcp_connections_total{direction="inbound",server_address="x.y",server_port="1",weft_peer="",weft_tls="none",error_type=""} 9
weft_tcp_open_connections{direction="outbound",server_address="store.data",server_port="6379"} 2
weft_tcp_sent_bytes_total{direction="outbound",server_address="store.data",server_port="6379",weft_peer=""} 2048
`,
    () => true,
  );

describe("edges", () => {
  it("tell rate, success and percentiles of the last seconds, and totals over restarts", () => {
    const book = new EdgeBook();
    book.observe("shop/a-0", "shop/frontend", scrape(100));
    book.edges(0);
    book.observe("shop/a-0", "shop/frontend", scrape(190, 10));
    const [http] = book.edges(10_000);
    assert.deepEqual([http?.from, http?.to, http?.port, http?.subset, http?.tls], ["shop/frontend", "reviews", "80", "v1", "mtls"]);
    assert.deepEqual([http?.rate, http?.success, http?.p50, http?.total], [10, 0.9, 0.001, 200]);
    book.observe("shop/a-0", "shop/frontend", scrape(5));
    assert.equal(book.edges(11_000)[0]?.total, 205, "a sidecar that starts anew counts from 0");
  });

  it("show connections and bytes of TCP, outbound only", () => {
    const book = new EdgeBook();
    book.observe("shop/a-0", "shop/frontend", scrape(1));
    const tcp = book.edges(0).filter((e) => e.protocol === "tcp");
    assert.deepEqual(
      tcp.map((e) => [e.to, e.total, e.openConnections, e.bytes, e.p50]),
      [["store.data", 3, 2, 2048, null]],
    );
    assert.match(edgeLines(tcp)[1] ?? "", /^shop\/frontend {2}store\.data:6379 .*no .*2 open, 2\.0 KiB/);
  });

  it("count a first routed request only when it was answered", () => {
    const book = new EdgeBook();
    book.observe(
      "shop/a-0",
      "shop/frontend",
      scrape(0, 1).filter((s) => !s.name.startsWith("weft_tcp")),
    );
    assert.equal(firstRouted(book.edges(0)), null);
    book.observe("shop/a-0", "shop/frontend", scrape(1, 1));
    const edge = firstRouted(book.edges(1000));
    assert.equal(
      edge === null ? null : sentence({ type: "first-request", afterMs: 6230, edge }),
      "first routed request after 6.2 s: GET shop/frontend → reviews v1, 200, mTLS",
    );
  });

  it("interpolate percentiles within a bucket and stop at the last bound", () => {
    const inf = Number.POSITIVE_INFINITY;
    assert.equal(
      quantile(
        new Map([
          [1, 10],
          [2, 20],
          [inf, 20],
        ]),
        0.75,
      ),
      1.5,
    );
    assert.equal(
      quantile(
        new Map([
          [1, 0],
          [2, 0],
          [inf, 5],
        ]),
        0.5,
      ),
      2,
    );
    assert.equal(quantile(new Map([[1, 0]]), 0.5), null);
  });
});

describe("the exposition parser", () => {
  it("reads escapes, infinities and timestamps, and skips what is no sample", () => {
    const series = parseExposition('# c\na{l="x\\"\\\\\\n,}"} +Inf\nb 1 1700000000\nbroken{\nc x\n', () => true);
    assert.deepEqual(
      series.map((s) => [s.name, s.labels, s.value]),
      [
        ["a", { l: 'x"\\\n,}' }, Number.POSITIVE_INFINITY],
        ["b", {}, 1],
      ],
    );
  });
});

describe("the output", () => {
  const book = new EdgeBook();
  book.observe("shop/a-0", "shop/frontend", scrape(1));
  const edges = book.edges(0);
  const show = (live: boolean): { out: string; err: string } => {
    const seen = { out: "", err: "" };
    const output = new TextOutput({ out: (t) => (seen.out += t), err: (t) => (seen.err += t), live, colour: false, width: () => 40 });
    output.event({ type: "edges", edges });
    output.event({ type: "held", what: "operator" });
    return seen;
  };

  it("has no control bytes when nobody watches", () => {
    const { out, err } = show(false);
    assert.doesNotMatch(out + err, /\x1b/);
    assert.match(out, /^FROM +TO +RATE/);
  });

  it("redraws in place on a terminal, no line wider than it", () => {
    const { out } = show(true);
    assert.match(out, /\x1b\[4A\r\x1b\[J/);
    assert.ok(out.split(/\n|\r/).every((line) => line.length < 40));
  });
});
