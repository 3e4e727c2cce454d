/** Weft's own kinds, and what of Kubernetes' Weft reads. */
export * from "./access-policy.ts";
export * from "./defaults.ts";
export * from "./filters.ts";
export * from "./gep.ts";
export * from "./kube.ts";
export * from "./mesh-identity.ts";
export * from "./object.ts";
export * from "./route.ts";
export * from "./schema-walk.ts";
export * from "./traffic-policy.ts";
