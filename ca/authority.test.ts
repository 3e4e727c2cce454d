import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { generateKeyPairSync, randomBytes, X509Certificate } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { SystemClock } from "#runtime/clock.ts";
import { ManualClock } from "#testing/manual-clock.ts";
import { Authority, type AuthorityOptions, type Issued } from "./authority.ts";
import { parseCertificate, uriNames } from "./certificate.ts";
import { prepare, serialFrom } from "./prepare.ts";
import { DEFAULT_ISSUER_TTL_MS, DEFAULT_ROOT_TTL_MS, OPERATOR_SERVER, WORKLOAD } from "./profiles.ts";
import { IssuerKey } from "./sign.ts";
import { pem, StateError } from "./store.ts";

const run = promisify(execFile);
const DAY_MS = 86_400_000;
const URI = "spiffe://cluster.local/ns/shop/sa/web";
const newKey = () => generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ format: "der", type: "spki" });

const folders: string[] = [];
const folder = (): string => {
  const made = mkdtempSync(join(tmpdir(), "weft-ca-"));
  folders.push(made);
  return made;
};
afterAll(() => {
  for (const made of folders) rmSync(made, { recursive: true, force: true });
});

const options = (over: Partial<AuthorityOptions> = {}): AuthorityOptions => ({
  stateDir: over.stateDir ?? folder(),
  trustDomain: "cluster.local",
  rootTtlMs: DEFAULT_ROOT_TTL_MS,
  issuerTtlMs: DEFAULT_ISSUER_TTL_MS,
  clock: new ManualClock(),
  randomBytes,
  ...over,
});

const issue = async (authority: Authority, over: { ttlMs?: number; uri?: string } = {}): Promise<Issued> => {
  const issued = await authority.issue({ profile: WORKLOAD, publicKey: newKey(), uri: URI, ttlMs: DAY_MS, ...over });
  assert.ok(!("refused" in issued), JSON.stringify(issued));
  return issued;
};

describe("the CA's certificates", () => {
  it("pass openssl verify -x509_strict, fifty leaves of all lifetimes and the operator's", async () => {
    const at = options({ clock: new SystemClock() });
    const authority = await Authority.open(at);
    const leaves: string[] = [];
    const chain = await issue(authority);
    writeFileSync(join(at.stateDir, "issuer-only.pem"), pem("CERTIFICATE", chain.chain[1] ?? new Uint8Array()));
    for (let n = 0; n < 50; n++) {
      const profile = n % 10 === 0 ? OPERATOR_SERVER : WORKLOAD;
      const issued = await authority.issue({
        profile,
        publicKey: newKey(),
        uri: `spiffe://cluster.local/ns/shop/sa/sa-${n}`,
        ttlMs: 60_000 * (n + 1),
        dnsNames: profile === OPERATOR_SERVER ? ["weft-operator.weft-system.svc"] : [],
      });
      const file = join(at.stateDir, `leaf-${n}.pem`);
      writeFileSync(file, pem("CERTIFICATE", "refused" in issued ? new Uint8Array() : (issued.chain[0] ?? new Uint8Array())));
      leaves.push(file);
    }
    for (const purpose of ["sslclient", "sslserver"]) {
      const { stdout } = await run("openssl", [
        "verify",
        "-x509_strict",
        "-purpose",
        purpose,
        "-CAfile",
        join(at.stateDir, "bundle.pem"),
        "-untrusted",
        join(at.stateDir, "issuer-only.pem"),
        ...leaves,
      ]);
      assert.equal(
        stdout
          .trim()
          .split("\n")
          .filter((line) => line.endsWith(": OK")).length,
        50,
      );
    }
  });

  it("start five minutes back and end exactly when asked", async () => {
    const clock = new ManualClock();
    const authority = await Authority.open(options({ clock }));
    clock.advance(DAY_MS);
    const issued = await issue(authority, { ttlMs: 60_000 });
    assert.equal(issued.notBeforeMs, clock.wallMs() - 300_000);
    assert.equal(issued.notAfterMs, clock.wallMs() + 60_000);
    const leaf = new X509Certificate(issued.chain[0] ?? new Uint8Array());
    assert.equal(Date.parse(leaf.validTo), issued.notAfterMs);
  });

  it("end no later than the first end above them", async () => {
    const authority = await Authority.open(options({ rootTtlMs: 2 * 3_600_000, issuerTtlMs: DEFAULT_ISSUER_TTL_MS }));
    const issued = await issue(authority, { ttlMs: DAY_MS });
    assert.equal(issued.notAfterMs, authority.rootNotAfterMs);
  });

  it("have serials that are positive, 16 octets long and never the same", async () => {
    const authority = await Authority.open(options());
    const serials = new Set<string>();
    for (let n = 0; n < 20; n++) {
      const { serial } = parseCertificate((await issue(authority)).chain[0] ?? new Uint8Array());
      assert.equal(serial.length, 16);
      assert.ok((serial[0] ?? 0) >= 0x40 && (serial[0] ?? 0) < 0x80, `first octet ${serial[0]}`);
      serials.add(Buffer.from(serial).toString("hex"));
    }
    assert.equal(serials.size, 20);
    assert.equal(serialFrom(new Uint8Array(16))[0], 0x40);
    assert.equal(serialFrom(new Uint8Array(16).fill(255))[0], 0x7f);
  });

  it.each([
    { name: "a lifetime below a minute", ttlMs: 59_999, uri: URI },
    { name: "a lifetime above seven days", ttlMs: 8 * DAY_MS, uri: URI },
    { name: "an id without a path", ttlMs: DAY_MS, uri: "spiffe://cluster.local" },
    { name: "an id with an empty segment", ttlMs: DAY_MS, uri: "spiffe://cluster.local/ns//sa/x" },
    { name: "an id with a percent escape", ttlMs: DAY_MS, uri: "spiffe://cluster.local/ns/a%2fb/sa/x" },
  ])("are not made for $name", async ({ ttlMs, uri }) => {
    const authority = await Authority.open(options());
    const issued = await authority.issue({ profile: WORKLOAD, publicKey: newKey(), uri, ttlMs });
    assert.ok("refused" in issued);
  });
});

describe("a prepared certificate", () => {
  const prepared = async () => {
    const key = IssuerKey.generate();
    const made = prepare({
      profile: WORKLOAD,
      publicKey: newKey(),
      uri: URI,
      chain: [parseCertificate((await issue(await Authority.open(options()))).chain[1] ?? new Uint8Array())],
      nowMs: new ManualClock().wallMs(),
      ttlMs: DAY_MS,
      serial: serialFrom(randomBytes(16)),
    });
    assert.ok(!("refused" in made), JSON.stringify(made));
    return { key, made };
  };

  it("is signed once only", async () => {
    const { key, made } = await prepared();
    assert.equal(uriNames(parseCertificate(key.sign(made)))[0], URI);
    assert.throws(() => key.sign(made), /only once/);
  });

  it("cannot be made by hand or changed", async () => {
    const { key, made } = await prepared();
    assert.throws(() => key.sign({ ...made }), /only a prepared/);
  });

  it("is the same bytes for the same input", async () => {
    const authority = await Authority.open(options());
    const chain = [parseCertificate((await issue(authority)).chain[1] ?? new Uint8Array())];
    const request = {
      profile: WORKLOAD,
      publicKey: newKey(),
      uri: URI,
      chain,
      nowMs: new ManualClock().wallMs(),
      ttlMs: DAY_MS,
      serial: serialFrom(randomBytes(16)),
    };
    const [a, b] = [prepare(request), prepare(request)];
    assert.ok("tbs" in a && "tbs" in b);
    assert.deepEqual(a.tbs, b.tbs);
  });
});

describe("the CA's state folder", () => {
  it("makes a restarted operator the same CA", async () => {
    const at = options();
    const before = await Authority.open(at);
    const after = await Authority.open(at);
    assert.deepEqual(after.roots(), before.roots());
    assert.deepEqual((await issue(after)).chain[1], (await issue(before)).chain[1]);
  });

  it("keeps keys to the owner and publishes the roots", async () => {
    const { stateDir } = options();
    const authority = await Authority.open(options({ stateDir }));
    const mode = (...path: string[]): number => statSync(join(stateDir, ...path)).mode & 0o777;
    assert.equal(mode("ca"), 0o700);
    assert.equal(mode("ca", "root.pem"), 0o600);
    assert.equal(mode("ca", "issuer.pem"), 0o600);
    assert.equal(mode("bundle.pem"), 0o644);
    assert.deepEqual(new Uint8Array(new X509Certificate(readFileSync(join(stateDir, "bundle.pem"))).raw), authority.roots()[0]);
    assert.equal(readdirSync(join(stateDir, "ca")).sort().join(" "), "issuer.pem root.pem");
  });

  it("survives what a crash in the middle of a write leaves", async () => {
    const at = options();
    const before = await Authority.open(at);
    writeFileSync(join(at.stateDir, "ca", "root.pem.tmp"), "half a ke");
    writeFileSync(join(at.stateDir, "bundle.pem.tmp"), "half");
    assert.deepEqual((await Authority.open(at)).roots(), before.roots());
  });

  it("gets a new issuer under the same root when the issuer is gone", async () => {
    const at = options();
    const before = await Authority.open(at);
    rmSync(join(at.stateDir, "ca", "issuer.pem"));
    const after = await Authority.open(at);
    assert.deepEqual(after.roots(), before.roots());
    assert.notDeepEqual((await issue(after)).chain[1], (await issue(before)).chain[1]);
  });

  const BROKEN: readonly {
    readonly name: string;
    readonly file: string;
    readonly spoil: (ca: string) => void | Promise<void>;
    readonly remedy: RegExp;
  }[] = [
    { name: "an empty root", file: "root.pem", spoil: (ca) => writeFileSync(join(ca, "root.pem"), ""), remedy: /backup/ },
    {
      name: "a root that is cut off",
      file: "root.pem",
      spoil: (ca) => writeFileSync(join(ca, "root.pem"), readFileSync(join(ca, "root.pem"), "utf8").slice(0, 400)),
      remedy: /backup/,
    },
    { name: "a missing root beside an issuer", file: "root.pem", spoil: (ca) => rmSync(join(ca, "root.pem")), remedy: /backup/ },
    { name: "an issuer of another CA", file: "issuer.pem", spoil: (ca) => copyOther(ca, "issuer.pem"), remedy: /delete it/ },
    { name: "a root of another CA", file: "issuer.pem", spoil: (ca) => copyOther(ca, "root.pem"), remedy: /delete it/ },
    { name: "a root's certificate for another key", file: "root.pem", spoil: mixKeys, remedy: /backup/ },
    {
      name: "an issuer where the root should be",
      file: "root.pem",
      spoil: (ca) => copyFileSync(join(ca, "issuer.pem"), join(ca, "root.pem")),
      remedy: /backup/,
    },
    { name: "a key that others may read", file: "root.pem", spoil: (ca) => chmodSync(join(ca, "root.pem"), 0o644), remedy: /chmod 600/ },
    { name: "a folder that others may enter", file: "ca", spoil: (ca) => chmodSync(ca, 0o755), remedy: /chmod 700/ },
    { name: "a link instead of a file", file: "issuer.pem", spoil: relink, remedy: /Move it away/ },
  ];

  it.each(BROKEN)("is refused with $name, naming file and remedy, and not overwritten", async ({ file, spoil, remedy }) => {
    const at = options();
    await Authority.open(at);
    const ca = join(at.stateDir, "ca");
    await spoil(ca);
    const content = () => readdirSync(ca).map((name) => [name, readFileSync(join(ca, name), "utf8")]);
    const before = content();
    const error = await Authority.open(at).then(
      () => null,
      (e: unknown) => e,
    );
    assert.ok(error instanceof StateError, String(error));
    assert.ok(error.file.endsWith(file), error.file);
    assert.match(error.remedy, remedy);
    assert.match(error.message, /^WEFT_BAD_STATE: /);
    assert.deepEqual(content(), before);
  });

  it("is refused for another trust domain", async () => {
    const at = options();
    await Authority.open(at);
    await assert.rejects(Authority.open({ ...at, trustDomain: "other.example" }), /CA for spiffe:\/\/cluster\.local/);
  });

  it("is refused when the root has expired", async () => {
    const clock = new ManualClock();
    const at = options({ clock, rootTtlMs: 3_600_000, issuerTtlMs: 3_600_000 });
    await Authority.open(at);
    clock.advance(3_600_001);
    await assert.rejects(Authority.open(at), /the root expired/);
  });
});

describe("issuer renewal", () => {
  it("happens at half of the issuer's life, under the same root, and lasts", async () => {
    const clock = new ManualClock();
    const at = options({ clock });
    const authority = await Authority.open(at);
    const first = (await issue(authority)).chain[1];
    clock.advance(44 * DAY_MS);
    assert.deepEqual((await issue(authority)).chain[1], first);
    clock.advance(2 * DAY_MS);
    const [a, b] = await Promise.all([issue(authority), issue(authority)]);
    assert.notDeepEqual(a.chain[1], first);
    assert.deepEqual(a.chain[1], b.chain[1]);
    assert.deepEqual((await issue(await Authority.open(at))).chain[1], a.chain[1]);
  });

  it("goes on with the current issuer while the disk refuses the new one", async () => {
    const clock = new ManualClock();
    const at = options({ clock });
    const authority = await Authority.open(at);
    const first = (await issue(authority)).chain[1];
    clock.advance(50 * DAY_MS);
    rmSync(join(at.stateDir, "ca"), { recursive: true });
    assert.throws(() => authority.renewIfDue(), /ENOENT/);
    assert.deepEqual((await issue(authority)).chain[1], first);
  });

  it("happens at the start of an operator that was away too long", async () => {
    const clock = new ManualClock();
    const at = options({ clock });
    const before = await Authority.open(at);
    clock.advance(200 * DAY_MS);
    const after = await Authority.open(at);
    assert.deepEqual(after.roots(), before.roots());
    assert.ok((await issue(after)).notAfterMs > clock.wallMs());
  });

  it("is not tried again and again when the root ends first", async () => {
    const clock = new ManualClock();
    const authority = await Authority.open(options({ clock, rootTtlMs: 10 * DAY_MS, issuerTtlMs: 90 * DAY_MS }));
    const first = (await issue(authority)).chain[1];
    clock.advance(8 * DAY_MS);
    assert.deepEqual((await issue(authority)).chain[1], first);
  });
});

async function copyOther(ca: string, file: string): Promise<void> {
  const other = options();
  await Authority.open(other);
  copyFileSync(join(other.stateDir, "ca", file), join(ca, file));
}

function mixKeys(ca: string): void {
  const certificate = /-----BEGIN CERTIFICATE[\s\S]+/.exec(readFileSync(join(ca, "root.pem"), "utf8"))?.[0] ?? "";
  writeFileSync(join(ca, "root.pem"), IssuerKey.generate().toPem() + certificate, { mode: 0o600 });
}

function relink(ca: string): void {
  const kept = join(ca, "..", "kept.pem");
  copyFileSync(join(ca, "issuer.pem"), kept);
  rmSync(join(ca, "issuer.pem"));
  symlinkSync(kept, join(ca, "issuer.pem"));
  assert.ok(existsSync(join(ca, "issuer.pem")));
}
