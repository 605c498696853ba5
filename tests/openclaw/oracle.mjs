// Answers questions with the real OpenClaw: one JSON request a line in, one JSON answer a line out.
//
// Its bundles have no stable module names, so functions are found by the name they are exported
// under. Answers hold no stack traces: `{"ok": value}` or `{"error": message}`.
import { readdir, readFile } from "node:fs/promises";
import { createInterface } from "node:readline";

const dist = new URL("node_modules/openclaw/dist/", import.meta.url);
const wanted = [
  "prepareSecretsRuntimeSnapshot",
  "createConfigIO",
  "loadAuthProfileStoreForRuntime",
  "updateAuthProfileStoreWithLock",
  "resolveAuthProfileOrder",
  "markAuthProfileUsed",
  "markAuthProfileFailure",
];
const found = new Map();

async function find() {
  const left = new Set(wanted);
  for (const file of (await readdir(dist)).filter((name) => name.endsWith(".js")).sort()) {
    if (left.size === 0) break;
    const text = await readFile(new URL(file, dist), "utf8");
    const exported = text.slice(text.lastIndexOf("\nexport {"));
    for (const name of left) {
      const hit = new RegExp(`[{ ]${name}(?: as (\\w+|\\$))?[,\\s}]`).exec(exported);
      if (!hit || !text.includes(`function ${name}(`)) continue;
      const module = await import(new URL(file, dist));
      found.set(name, module[hit[1] ?? name]);
      left.delete(name);
    }
  }
  if (left.size > 0) throw new Error(`OpenClaw exports none of: ${[...left].join(", ")}`);
}

const call = (name, ...args) => found.get(name)(...args);
const load = (agentDir) => call("loadAuthProfileStoreForRuntime", agentDir, { allowKeychainPrompt: false });

const operations = {
  // The configuration file as OpenClaw reads it: includes, variables, validation.
  async config({ home, env }) {
    const io = call("createConfigIO", { env: { ...env }, homedir: () => home, logger: console });
    const read = await io.readConfigFileSnapshot();
    return { valid: read.valid, config: read.config, issues: read.issues };
  },
  // A parsed configuration with every active reference replaced by its value.
  async secrets({ config, env }) {
    const prepared = await call("prepareSecretsRuntimeSnapshot", {
      config,
      env,
      includeAuthStoreRefs: false,
      // Looking for plugins takes a second, so only where some are configured.
      ...(config.plugins ? {} : { loadablePluginOrigins: new Map() }),
    });
    return prepared.config;
  },
  async store({ agentDir }) {
    return load(agentDir);
  },
  async order({ agentDir, config, provider }) {
    return call("resolveAuthProfileOrder", { cfg: config, store: load(agentDir), provider });
  },
  async put({ agentDir, profileId, credential }) {
    const updater = (store) => {
      store.profiles[profileId] = credential;
      return true;
    };
    return (await call("updateAuthProfileStoreWithLock", { agentDir, updater })) !== null;
  },
  // The same while the lock is held for a time, as during a refresh.
  async putSlowly({ agentDir, profileId, credential, ms }) {
    const updater = (store) => {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
      store.profiles[profileId] = credential;
      return true;
    };
    return (await call("updateAuthProfileStoreWithLock", { agentDir, updater })) !== null;
  },
  async used({ agentDir, profileId }) {
    await call("markAuthProfileUsed", { store: load(agentDir), profileId, agentDir });
    return true;
  },
  async failed({ agentDir, profileId, reason }) {
    await call("markAuthProfileFailure", { store: load(agentDir), profileId, reason, agentDir });
    return true;
  },
};

// Only answers belong on standard output.
console.log = console.info = console.debug = console.error;
await find();
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  let answer;
  try {
    answer = { ok: (await operations[request.op](request)) ?? null };
  } catch (error) {
    answer = { error: String(error?.message ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);
