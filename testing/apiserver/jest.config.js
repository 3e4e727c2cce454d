import shared from "../../jest.config.js";

// `make test-apiserver`: what needs a real API server, and so is no part of `make test`.
export default {
  ...shared,
  rootDir: "../..",
  testMatch: ["**/*.apiserver.test.ts"],
  testPathIgnorePatterns: ["/node_modules/", "/dist/"],
  testTimeout: 60_000,
};
