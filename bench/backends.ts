import path from "node:path";
import { ANSWERING } from "./large-mesh.ts";
import type { Backends } from "./peers/target.ts";
import { bindable, listens, type Processes, ROOT } from "./processes.ts";

/** Where bench/mesh/2-services.yaml says that the programs outside the mesh are. */
const BACKENDS: Backends = { host: "127.0.0.1", httpPort: 27_080, echoPort: 27_081 };

/** The same programs that are the pods' apps, once more outside the mesh, for as long as the benchmark runs. */
export async function startBackends(processes: Processes): Promise<Backends> {
  const cwd = path.join(ROOT, "bench/mesh");
  const { host, httpPort, echoPort } = BACKENDS;
  for (const port of [httpPort, echoPort]) {
    if (!(await bindable(port)))
      throw new Error(`port ${port} of ${host} is in use: let the other benchmark end, or what else listens there`);
  }
  const hosts = ANSWERING.join(" ");
  const web = processes.start({ name: "web", program: "sh", args: ["web.sh"], cwd, env: { HOSTS: hosts, PORT: String(httpPort) } });
  const echo = processes.start({
    name: "echo",
    program: process.execPath,
    args: ["echo.ts"],
    cwd,
    env: { HOST: host, PORT: String(echoPort) },
  });
  await listens(processes.keep(web), host, httpPort);
  await listens(processes.keep(echo), host, echoPort);
  return BACKENDS;
}
