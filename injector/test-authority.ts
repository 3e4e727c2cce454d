import "reflect-metadata";
import { webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";
import type { ServingCertificate } from "./certificates.ts";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

/** A self-signed certificate for 127.0.0.1, made when a test runs. */
export async function makeServing(nowMs: number, lifetimeMs = 3_600_000, name = "CN=weft-injector"): Promise<ServingCertificate> {
  x509.cryptoProvider.set(webcrypto as Crypto);
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const notAfter = new Date(Math.floor((nowMs + lifetimeMs) / 1000) * 1000);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name,
    keys,
    signingAlgorithm: ALGORITHM,
    notBefore: new Date(nowMs - 3_600_000),
    notAfter,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.SubjectAlternativeNameExtension([
        { type: "dns", value: "weft-injector.weft-system.svc" },
        { type: "ip", value: "127.0.0.1" },
      ]),
    ],
  });
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey)).toString("base64");
  const lines = (pkcs8.match(/.{1,64}/g) ?? []).join("\n");
  return {
    certPem: `${certificate.toString("pem")}\n`,
    keyPem: `-----BEGIN PRIVATE ${"KEY"}-----\n${lines}\n-----END PRIVATE ${"KEY"}-----\n`,
    notAfterMs: notAfter.getTime(),
  };
}
