import fs from "node:fs";
import path from "node:path";
import { Command } from "commander";
import { fetchIdentity } from "#proxy/identity/client.ts";
import { SystemClock } from "#runtime/clock.ts";
import { control, messageOf } from "#standalone/client.ts";
import { UserError } from "./failure.ts";
import { findState, stateOption } from "./state.ts";

interface Facts {
  readonly token: string;
  readonly operatorAddress: string;
  readonly trustDomain: string;
  readonly bundle: string;
}

export function identityCommand(): Command {
  const identity = new Command("identity").description("identities for programs that are not Weft's");
  identity
    .command("fetch")
    .description("write a key, its X509-SVID and the trust bundle: key.pem, svid.pem, bundle.pem")
    .requiredOption("--service-account <namespace/name>", "whose identity, e.g. shop/frontend")
    .requiredOption("--out <dir>", "folder to write into; made when it is not there")
    .addOption(stateOption())
    .action(async (flags: { serviceAccount: string; out: string; state?: string }) => {
      const { status, body } = await control(findState(flags.state), "POST", "/v1/token", { serviceAccount: flags.serviceAccount });
      if (status !== 200) throw new UserError(messageOf(body));
      const { token, operatorAddress, trustDomain, bundle } = body as Facts;
      const identity = await fetchIdentity({ address: operatorAddress, bundlePem: bundle, trustDomain, token, clock: new SystemClock() });
      write(flags.out, "key.pem", identity.keyPem, 0o600);
      write(flags.out, "svid.pem", identity.chainPem.map(withNewline).join(""), 0o644);
      write(flags.out, "bundle.pem", identity.rootsPem.map(withNewline).join(""), 0o644);
      process.stderr.write(
        `${flags.out}/{key,svid,bundle}.pem: ${identity.spiffeId}, valid until ${new Date(identity.notAfterMs).toISOString()}\n`,
      );
    });
  return identity;
}

/** Replaces the file whole, with its mode from the first byte on: a key is never readable by others, not even for a moment. */
function write(folder: string, name: string, content: string, mode: number): void {
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
  const file = path.join(folder, name);
  const temporary = `${file}.${process.pid}.new`;
  fs.rmSync(temporary, { force: true });
  fs.writeFileSync(temporary, content, { mode, flag: "wx" });
  fs.renameSync(temporary, file);
}

function withNewline(pem: string): string {
  return pem.endsWith("\n") ? pem : `${pem}\n`;
}
