import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLogger, type Logger } from "#runtime/logger.ts";
import { ManualClock } from "#testing/manual-clock.ts";
import { AdminServer } from "./admin.ts";

let folder: string;
let socketPath: string;
let logger: Logger;
let missing: string[];
let asked: number;
let admin: AdminServer;
let port: number;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "weft-admin-"));
  socketPath = join(folder, "admin.sock");
  logger = createLogger(() => {}, new ManualClock(), "info");
  missing = ["identity", "workload document"];
  asked = 0;
  admin = make();
  port = (await admin.start()).port;
});
afterEach(async () => {
  await admin.close();
  rmSync(folder, { recursive: true });
});

function make(): AdminServer {
  return new AdminServer({
    address: "127.0.0.1",
    port: 0,
    socketPath,
    metrics: () => ["# HELP a b\n", "a 1\n"],
    missing: () => {
      asked++;
      return missing;
    },
    config: () => ({ identity: "spiffe://x/y" }),
    logger,
  });
}

function ask(where: { port: number } | { socketPath: string }, method: string, path: string, body = ""): Promise<string> {
  return new Promise((resolve, reject) => {
    const asking = request({ host: "127.0.0.1", ...where, method, path, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk) => {
        text += chunk;
      });
      response.on("end", () => resolve(`${response.statusCode} ${response.headers["content-type"]} ${text}`));
    });
    asking.on("error", reject);
    asking.end(body);
  });
}

/** Sends bytes and gives all that comes until the server closes. */
function raw(bytes: string): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(bytes));
    socket.setEncoding("latin1");
    socket.on("data", (chunk) => {
      text += chunk;
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve(text));
  });
}

describe("the admin server on the pod's address", () => {
  it("serves metrics as Prometheus wants them", async () => {
    assert.equal(await ask({ port }, "GET", "/metrics"), "200 text/plain; version=0.0.4; charset=utf-8 # HELP a b\na 1\n");
    assert.equal(await ask({ port }, "GET", "/metrics?x=1"), "200 text/plain; version=0.0.4; charset=utf-8 # HELP a b\na 1\n");
  });

  it("is alive", async () => {
    assert.match(await ask({ port }, "GET", "/livez"), /^200 .* ok\n$/);
    assert.match(await ask({ port }, "HEAD", "/livez"), /^200 text\/plain; charset=utf-8 $/);
  });

  it("is ready when nothing is missing any more, says what is, and stays ready for ever", async () => {
    assert.match(await ask({ port }, "GET", "/readyz"), /^503 .* missing: identity, workload document\n$/);
    missing = [];
    assert.match(await ask({ port }, "GET", "/readyz"), /^200 /);
    missing = ["identity"];
    assert.match(await ask({ port }, "GET", "/readyz"), /^200 /);
    assert.equal(asked, 2);
  });

  it("shows nothing of /config and /loglevel, and knows no other path", async () => {
    for (const path of ["/config", "/loglevel", "/", "/metrics/", "/__proto__", "/constructor", "//metrics", "*"])
      assert.match(await ask({ port }, "GET", path), /^404 /);
  });

  it("takes no other method", async () => {
    for (const method of ["POST", "PUT", "DELETE", "OPTIONS"]) assert.match(await ask({ port }, method, "/metrics"), /^405 /);
  });

  const hostile: { name: string; bytes: string }[] = [
    { name: "two lengths", bytes: "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n" },
    {
      name: "a length and chunks",
      bytes: "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    },
    { name: "a head of 20 KiB", bytes: `GET /metrics HTTP/1.1\r\nHost: x\r\nA: ${"a".repeat(20_000)}\r\n\r\n` },
    { name: "no HTTP", bytes: "\u0016\u0003\u0001\u0000\u0005hello\r\n\r\n" },
  ];
  it.each(hostile)("cuts a connection that sends $name", async ({ bytes }) => {
    assert.doesNotMatch(await raw(bytes), /200 OK/);
    assert.match(await ask({ port }, "GET", "/livez"), /^200 /);
  });
});

describe("the admin server on its socket", () => {
  it("is for the owner alone", () => {
    assert.equal(statSync(socketPath).mode & 0o777, 0o600);
  });

  it("leaves the process' umask as it was", () => {
    const file = join(folder, "after");
    const umask = process.umask();
    writeFileSync(file, "");
    assert.equal(statSync(file).mode & 0o777, 0o666 & ~umask);
    assert.notEqual(umask, 0o177);
  });

  it("shows the configuration", async () => {
    assert.match(await ask({ socketPath }, "GET", "/config"), /^200 application\/json \{\s+"identity": "spiffe:\/\/x\/y"\s+\}\n$/);
  });

  it("reads and sets the log level, as JSON or as text", async () => {
    assert.match(await ask({ socketPath }, "GET", "/loglevel"), /"info"/);
    assert.match(await ask({ socketPath }, "PUT", "/loglevel", '{"level":"debug"}'), /^200 .*"debug"/s);
    assert.equal(logger.level, "debug");
    await ask({ socketPath }, "PUT", "/loglevel", "warn\n");
    assert.equal(logger.level, "warn");
    await ask({ socketPath }, "PUT", "/loglevel", '"error"');
    assert.equal(logger.level, "error");
  });

  it("changes nothing on a level that there is not, or a body without end", async () => {
    for (const body of ["loud", "", "{}", "[1]", "null", '{"level":{}}'])
      assert.match(await ask({ socketPath }, "PUT", "/loglevel", body), /^400 /);
    assert.match(await ask({ socketPath }, "PUT", "/loglevel", "debug".padEnd(5_000)), /^413 /);
    assert.equal(logger.level, "info");
  });

  it("serves no metrics", async () => {
    assert.match(await ask({ socketPath }, "GET", "/metrics"), /^404 /);
  });
});

describe("starting the admin server", () => {
  it("takes the place of a socket that nobody cleaned up", async () => {
    const again = make();
    await again.start();
    assert.match(await ask({ socketPath }, "GET", "/loglevel"), /^200 /);
    await again.close();
  });

  it("removes its socket when closed", async () => {
    await admin.close();
    assert.equal(existsSync(socketPath), false);
  });

  it("fails, and deletes nothing, when its path is a file", async () => {
    await admin.close();
    writeFileSync(socketPath, "precious");
    const other = make();
    await assert.rejects(other.start(), /EADDRINUSE/);
    assert.equal(existsSync(socketPath), true);
    await other.close();
  });

  it("fails when the port is taken", async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const options = {
      address: "127.0.0.1",
      port: (taken.address() as { port: number }).port,
      socketPath: join(folder, "b.sock"),
      metrics: () => [],
      missing: () => [],
      config: () => null,
      logger,
    };
    await assert.rejects(new AdminServer(options).start(), /EADDRINUSE/);
    await new Promise((resolve) => taken.close(resolve));
  });
});
