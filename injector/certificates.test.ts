import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { SystemClock } from "#runtime/clock.ts";
import { createLogger } from "#runtime/logger.ts";
import { ManualClock } from "#testing/manual-clock.ts";
import { CertificateFiles, readPair, type ServingCertificate } from "./certificates.ts";
import { makeServing } from "./test-authority.ts";
import { readBundle, TrustBundle } from "./trust-bundle.ts";

const nowMs = new SystemClock().wallMs();
let folder: string;
let one: ServingCertificate;
let two: ServingCertificate;
beforeAll(async () => {
  one = await makeServing(nowMs);
  two = await makeServing(nowMs, 7_200_000, "CN=two");
});
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), "weft-injector-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** As the kubelet does it: a new folder, then the link `..data` renamed onto it. */
function mount(name: string, cert: string, key: string): void {
  mkdirSync(path.join(folder, name));
  writeFileSync(path.join(folder, name, "tls.crt"), cert);
  writeFileSync(path.join(folder, name, "tls.key"), key);
  symlinkSync(name, path.join(folder, "..new"));
  renameSync(path.join(folder, "..new"), path.join(folder, "..data"));
}

/** Looks until so much was told; the clock stands still otherwise. */
async function until(clock: ManualClock, isSo: () => boolean): Promise<void> {
  while (!isSo()) {
    clock.advance(1_000);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe("serving certificates in files", () => {
  it("are taken when they appear, and again when the mount changes", async () => {
    const clock = new ManualClock();
    const files = new CertificateFiles(folder, clock);
    const taken: string[] = [];
    const refused: string[] = [];
    files.start(
      ({ certPem }) => taken.push(certPem),
      (why) => refused.push(why),
    );
    await until(clock, () => refused.length === 1);
    symlinkSync("..data/tls.crt", path.join(folder, "tls.crt"));
    symlinkSync("..data/tls.key", path.join(folder, "tls.key"));
    mount("first", one.certPem, one.keyPem);
    await until(clock, () => taken.length === 1);
    mount("broken", two.certPem, one.keyPem);
    await until(clock, () => refused.length === 2);
    mount("second", two.certPem, two.keyPem);
    await until(clock, () => taken.length === 2);
    files.close();
    assert.deepEqual(taken, [one.certPem, two.certPem]);
    assert.match(refused[0] ?? "", /ENOENT/);
    assert.equal(refused[1], "the key does not belong to the certificate");
  });

  it("are told once, not at each look", async () => {
    let looks = 0;
    class CountingClock extends ManualClock {
      override after(delayMs: number, f: () => void): () => void {
        looks++;
        return super.after(delayMs, f);
      }
    }
    const clock = new CountingClock();
    const files = new CertificateFiles(folder, clock);
    writeFileSync(path.join(folder, "tls.crt"), one.certPem);
    writeFileSync(path.join(folder, "tls.key"), one.keyPem);
    let taken = 0;
    files.start(
      () => taken++,
      () => {},
    );
    await until(clock, () => looks >= 5);
    files.close();
    assert.equal(taken, 1);
  });

  it("are read only as a pair", () => {
    assert.deepEqual(
      [readPair(one.certPem, one.keyPem), "problem" in readPair("x", one.keyPem), "problem" in readPair(one.certPem, "x")],
      [one, true, true],
    );
  });
});

describe("the trust bundle", () => {
  it("is the certificates of the file and nothing else", () => {
    const found = readBundle(`a comment\n${one.certPem}\nanother\n${two.certPem}`);
    assert.deepEqual("pem" in found && found.pem, `${one.certPem.trim()}\n${two.certPem.trim()}\n`);
  });

  it.each([
    ["nothing", "", /no certificate/],
    ["a key", () => one.keyPem, /no certificate/],
    ["what is too large for every pod", () => one.certPem.repeat(100), /larger than/],
    ["a broken certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", /cannot be read/],
  ] as const)("is not read from %s", (_name, pem, problem) => {
    const found = readBundle(typeof pem === "string" ? pem : pem());
    assert.match("problem" in found ? found.problem : "read", problem);
  });

  it("stays what was good last while the file is broken, and follows it", async () => {
    const clock = new ManualClock();
    const file = path.join(folder, "bundle.pem");
    const lines: string[] = [];
    const bundle = new TrustBundle({
      where: file,
      read: () => readFile(file, "utf8"),
      clock,
      logger: createLogger((line) => lines.push(line), clock, "info"),
    });
    await bundle.start();
    assert.deepEqual([bundle.pem, bundle.notReady() === null], [null, false]);
    writeFileSync(file, one.certPem);
    await until(clock, () => bundle.pem !== null);
    writeFileSync(file, "half");
    await until(clock, () => lines.length === 3);
    assert.deepEqual([bundle.pem, bundle.notReady()], [one.certPem, null]);
    writeFileSync(file, two.certPem);
    await until(clock, () => bundle.pem === two.certPem);
    bundle.close();
  });
});
