import assert from "node:assert/strict";
import { type Fields, fieldValue, forwardedFields, forwardedOf, stripOwnFields } from "./fields.ts";

describe("our own fields", () => {
  it("are stripped in any case, and with underscores for hyphens", () => {
    const given = ["weft-peer", "1", "accept", "a", "WEFT-x", "2", "Weft_Peer", "3", "weft-", "4", "weft_", "5", "x-weft-a", "b"];
    assert.deepEqual(stripOwnFields(given), ["accept", "a", "x-weft-a", "b"]);
  });
  it("are names, not values", () => {
    assert.deepEqual(stripOwnFields(["a", "weft-x", "weft", "b", "wefty", "c", "weft.x", "d"]), [
      "a",
      "weft-x",
      "weft",
      "b",
      "wefty",
      "c",
      "weft.x",
      "d",
    ]);
  });
  it("cost no new array where there is none", () => {
    const given = ["host-like", "a", "w", "b"];
    assert.equal(stripOwnFields(given), given);
  });
  it("leave the given array as it was", () => {
    const given = ["weft-a", "1", "b", "2"];
    stripOwnFields(given);
    assert.deepEqual(given, ["weft-a", "1", "b", "2"]);
  });
});

describe("what an application is told of its caller", () => {
  const own = "spiffe://cluster.local/ns/shop/sa/reviews";
  const peer = "spiffe://cluster.local/ns/shop/sa/frontend";
  const told = forwardedOf(own, peer, "10.0.0.7");
  const cert = `By=${own};URI=${peer}`;

  it("is its address and, in Envoy's syntax, its identity", () => {
    assert.deepEqual(forwardedFields(["a", "b"], told), ["a", "b", "x-forwarded-for", "10.0.0.7", "x-forwarded-client-cert", cert]);
  });
  it("is no identity on a connection without one, also when the client claims one", () => {
    const fields = forwardedFields(["X-Forwarded-Client-Cert", cert], forwardedOf(own, null, "10.0.0.7"));
    assert.deepEqual(fields, ["x-forwarded-for", "10.0.0.7"]);
  });
  it.each([
    "x-forwarded-for",
    "X-Forwarded-For",
    "x_forwarded_for",
    "X-Forwarded_For",
    "x-forwarded-client-cert",
    "X_FORWARDED_CLIENT_CERT",
    "x-forwarded-client_cert",
    "forwarded",
    "Forwarded",
    "x-real-ip",
    "X_Real_IP",
    "x-envoy-external-address",
    "X-Envoy_Internal",
    "l5d-client-id",
    "L5D_client_id",
    "weft-peer",
    "weft_peer",
    "x_forwarded_proto",
    "x-forwarded_host",
  ])("is never what the client said in %s", (name) => {
    assert.deepEqual(forwardedFields([name, "spoofed", "a", "b"], told), [
      "a",
      "b",
      "x-forwarded-for",
      "10.0.0.7",
      "x-forwarded-client-cert",
      cert,
    ]);
  });
  it.each(["x-forwarded-proto", "X-Forwarded-Host", "x-forwarded-port", "x-forwarded", "forwarded-x", "x-request-id", "l5", "forward"])(
    "leaves %s, which does not say who the caller is",
    (name) => {
      assert.deepEqual(forwardedFields([name, "v"], told).slice(0, 2), [name, "v"]);
    },
  );
  it.each([
    ["::ffff:10.0.0.7", "10.0.0.7"],
    ["fe80::1%eth0", "fe80::1"],
    ["2001:DB8::1", "2001:DB8::1"],
    ["", "unknown"],
    ["10.0.0.7\r\nx: y", "unknown"],
  ])("writes the address %j as %s", (address, written) => {
    assert.equal(forwardedOf(own, null, address).for, written);
  });
  it.each([
    ['a"b', '"a\\"b"'],
    ["a,b", '"a,b"'],
    ["a;URI=b", '"a;URI=b"'],
    ["a\r\nx: y", "a%0D%0Ax:%20y"],
    ["a\0b\x7f", "a%00b%7F"],
    ["a\\", "a%5C"],
    ["é\ud800", "%C3%A9%EF%BF%BD"],
  ])("escapes %j in an identity, should one ever get there", (id, written) => {
    assert.equal(forwardedOf("own", id, "").clientCert, `By=own;URI=${written}`);
  });
  it("leaves the given array as it was", () => {
    const given: Fields = ["x-forwarded-for", "1"];
    forwardedFields(given, told);
    assert.deepEqual(given, ["x-forwarded-for", "1"]);
  });
});

describe("the value of a field", () => {
  it("is null where there is none, and joined where there are several", () => {
    assert.equal(fieldValue(["a", "b"], "b"), null);
    assert.equal(fieldValue(["A", "1", "b", "2", "a", ""], "a"), "1,");
  });
});
