import type { InjectionSettings } from "./settings.ts";

/** For tests: a bundle that can be told from a real one. */
export const SETTINGS: InjectionSettings = {
  image: "weft.example/weft:0.1.0",
  imagePullPolicy: "IfNotPresent",
  trustDomain: "cluster.local",
  operatorAddress: "weft-operator.weft-system.svc:16810",
  trustBundlePem: "(the roots, PEM)\n",
  logLevel: "info",
  systemNamespace: "weft-system",
};
