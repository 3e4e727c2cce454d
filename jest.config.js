// Sources are TypeScript that needs only its types stripped; jest's vm modules cannot use Node's own
// stripping, so a one-line transform does it.
export default {
  testEnvironment: "node",
  extensionsToTreatAsEsm: [".ts"],
  transform: { "\\.ts$": "<rootDir>/testing/strip-types.js" },
  testMatch: ["**/*.test.ts"],
  // What needs a real API server runs under testing/apiserver/jest.config.js.
  testPathIgnorePatterns: ["/node_modules/", "/dist/", "\\.apiserver\\.test\\.ts$"],
  modulePathIgnorePatterns: ["/dist/", "/.weft/"],
  watchman: false,
  injectGlobals: true,
  // A busy machine is no failure: what hangs is caught all the same.
  testTimeout: 30_000,
};
