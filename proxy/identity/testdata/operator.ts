import { createSecureServer, type Http2SecureServer, type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import type { TLSSocket } from "node:tls";
import { type ConnectRouter, createContextKey, createContextValues } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import type { SpiffeId } from "#api/spiffe.ts";
import { peerId } from "../peer.ts";

export const CALLER = createContextKey<SpiffeId | null>(null);

export interface TestOperator {
  readonly address: string;
  readonly port: number;
  close(): Promise<void>;
  /** Cuts every connection, as a killed operator would. */
  cut(): void;
}

/** A small gRPC server on loopback over TLS, which asks for client certificates and refuses none: as the operator's port does. */
export async function startOperator(
  tls: { readonly key: string; readonly cert: string; readonly ca: string; readonly maxVersion?: "TLSv1.2" },
  routes: (router: ConnectRouter) => void,
  port = 0,
): Promise<TestOperator> {
  const handler = connectNodeAdapter({
    routes,
    contextValues: (request) => {
      const session = "stream" in request ? request.stream.session : undefined;
      return createContextValues().set(CALLER, session === undefined ? null : peerId(session.socket as TLSSocket));
    },
  });
  const server: Http2SecureServer = createSecureServer({ ...tls, requestCert: true, rejectUnauthorized: false }, handler);
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("error", () => {});
    session.on("close", () => sessions.delete(session));
  });
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const bound = (server.address() as AddressInfo).port;
  const cut = (): void => {
    for (const session of sessions) session.destroy();
  };
  return {
    address: `127.0.0.1:${bound}`,
    port: bound,
    cut,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        cut();
      }),
  };
}
