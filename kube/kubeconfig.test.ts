import assert from "node:assert/strict";
import { AccessError, inClusterAccess, kubeconfigAccess } from "./kubeconfig.ts";

const config = (user: string, cluster = "", more = ""): string => `
apiVersion: v1
kind: Config
current-context: main
contexts:
- name: main
  context: {cluster: c, user: u, namespace: shop}
- name: bare
  context: {cluster: c}
clusters:
- name: c
  cluster: {server: "https://api.example:6443/", certificate-authority: pki/ca.crt${cluster}}
users:
- name: u
  user: ${user}
${more}`;

const read = (text: string, context = "") => kubeconfigAccess([{ path: "etc/kube/config", text }], context);
const PEM = "-----BEGIN CERTIFICATE-----\n";

describe("a kubeconfig", () => {
  it("says where the server is and whom it believes, with paths relative to itself", () => {
    assert.deepEqual(read(config("{token: t}")), {
      server: "https://api.example:6443",
      ca: { file: "etc/kube/pki/ca.crt" },
      tlsServerName: "",
      insecureSkipTlsVerify: false,
      credential: { kind: "token", token: "t" },
      namespace: "shop",
    });
  });

  const data = Buffer.from(PEM).toString("base64");
  const users: readonly { name: string; user: string; credential: unknown }[] = [
    { name: "nothing", user: "{}", credential: { kind: "none" } },
    {
      name: "a certificate in files",
      user: "{client-certificate: a.crt, client-key: b.key}",
      credential: { kind: "certificate", certificate: { file: "etc/kube/a.crt" }, key: { file: "etc/kube/b.key" } },
    },
    {
      name: "a certificate in itself",
      user: `{client-certificate-data: ${data}, client-key-data: ${data}}`,
      credential: { kind: "certificate", certificate: { pem: PEM }, key: { pem: PEM } },
    },
    {
      name: "a token file, before the token that it had once",
      user: "{tokenFile: t, token: old}",
      credential: { kind: "tokenFile", file: "etc/kube/t" },
    },
    { name: "name and password", user: "{username: a, password: b}", credential: { kind: "basic", username: "a", password: "b" } },
    {
      name: "a plugin",
      user: "{exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: aws, args: [eks], env: [{name: A, value: b}], provideClusterInfo: true, installHint: get it}}",
      credential: {
        kind: "exec",
        command: "aws",
        args: ["eks"],
        env: { A: "b" },
        apiVersion: "client.authentication.k8s.io/v1beta1",
        provideClusterInfo: true,
        installHint: "get it",
      },
    },
  ];
  it.each(users)("proves who one is with $name", ({ user, credential }) => {
    assert.deepEqual(read(config(user)).credential, credential);
  });

  it("names another context's cluster when asked for it, in the namespace default", () => {
    const { credential, namespace } = read(config("{token: t}"), "bare");
    assert.deepEqual([credential.kind, namespace], ["none", "default"]);
  });

  it("of several files takes the first that names a thing", () => {
    const other =
      "current-context: other\nusers:\n- {name: u, user: {token: second}}\ncontexts:\n- {name: other, context: {cluster: c, user: v}}";
    const access = kubeconfigAccess([
      { path: "a", text: config("{token: first}") },
      { path: "b", text: `${other}\n` },
    ]);
    assert.deepEqual(access.credential, { kind: "token", token: "first" });
  });

  const wrong: readonly { name: string; text: string; context?: string; says: RegExp }[] = [
    { name: "no context is chosen", text: "kind: Config", says: /current-context/ },
    { name: "the context is not there", text: config("{}"), context: "prod", says: /no context "prod"/ },
    { name: "the user is not there", text: config("{}").replace("- name: u\n", "- name: v\n"), says: /no user "u"/ },
    { name: "it is no YAML", text: "a: [", says: /no YAML/ },
    { name: "the server is no URL", text: config("{}").replace("https://api.example:6443/", "api"), says: /no http/ },
    { name: "a certificate has no key", text: config("{client-certificate: a}"), says: /belong together/ },
    { name: "it wants an HTTP proxy", text: config("{}", ", proxy-url: http://p"), says: /proxy-url/ },
    { name: "it uses what Kubernetes dropped", text: config("{auth-provider: {name: gcp}}"), says: /auth-provider/ },
    {
      name: "its plugin is older than v1beta1",
      text: config("{exec: {command: x, apiVersion: client.authentication.k8s.io/v1alpha1}}"),
      says: /v1alpha1/,
    },
  ];
  it.each(wrong)("says what is wrong when $name", ({ text, context, says }) => {
    assert.throws(
      () => read(text, context ?? ""),
      (error: Error) => error instanceof AccessError && says.test(error.message),
    );
  });
});

describe("a pod's own access", () => {
  it("is the token that kubelet renews, and an IPv6 address stands in brackets", () => {
    const access = inClusterAccess("fd00::1", "443", "weft-system\n");
    assert.deepEqual([access.server, access.credential.kind, access.namespace], ["https://[fd00::1]:443", "tokenFile", "weft-system"]);
  });

  it("does not exist outside a pod, which is said with what to do", () => {
    assert.throws(() => inClusterAccess(undefined, undefined, ""), /--kubeconfig/);
  });
});
