// An operator that plans nothing, for tests of the runner: ready at once.
import http from "node:http";

const address = process.argv[process.argv.indexOf("--address") + 1];
http.createServer((_, response) => response.end("ok")).listen(16812, address);
