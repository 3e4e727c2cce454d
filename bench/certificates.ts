import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";

/** Files of one leaf: certificate, key, and both in one as HAProxy wants it. */
export interface Leaf {
  readonly crt: string;
  readonly key: string;
  readonly pem: string;
}

export interface Certificates {
  readonly ca: string;
  readonly client: Leaf;
  readonly server: Leaf;
}

/** DNS name that peers without a check of URI names verify. */
export const SERVER_NAME = "server.bench.svc.cluster.local";

export function spiffeId(account: string): string {
  return `spiffe://cluster.local/ns/bench/sa/${account}`;
}

/** A P-256 CA and two P-256 leaves, each with its SPIFFE id as URI name and a DNS name, as the mesh's own have. Valid for a day. */
export function makeCertificates(folder: string): Certificates {
  fs.mkdirSync(folder, { mode: 0o700 });
  const at = (file: string): string => path.join(folder, file);
  const openssl = (...args: string[]): void => void execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
  const newKey = (name: string): void => openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", at(`${name}.key`));
  newKey("ca");
  openssl("req", "-x509", "-new", "-key", at("ca.key"), "-sha256", "-days", "1", "-subj", "/O=bench/CN=bench CA", "-out", at("ca.crt"));
  const leaf = (name: string): Leaf => {
    newKey(name);
    openssl("req", "-new", "-key", at(`${name}.key`), "-subj", `/O=bench/CN=${name}`, "-out", at(`${name}.csr`));
    const names = `URI:${spiffeId(name)},DNS:${name}.bench.svc.cluster.local`;
    const usage = "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=critical,CA:FALSE";
    fs.writeFileSync(at(`${name}.ext`), `subjectAltName=${names}\n${usage}\n`);
    const signing = [
      "-CA",
      at("ca.crt"),
      "-CAkey",
      at("ca.key"),
      "-CAcreateserial",
      "-sha256",
      "-days",
      "1",
      "-extfile",
      at(`${name}.ext`),
    ];
    openssl("x509", "-req", "-in", at(`${name}.csr`), ...signing, "-out", at(`${name}.crt`));
    const pem = fs.readFileSync(at(`${name}.crt`), "utf8") + fs.readFileSync(at(`${name}.key`), "utf8");
    fs.writeFileSync(at(`${name}.pem`), pem, { mode: 0o600 });
    return { crt: at(`${name}.crt`), key: at(`${name}.key`), pem: at(`${name}.pem`) };
  };
  return { ca: at("ca.crt"), client: leaf("client"), server: leaf("server") };
}
