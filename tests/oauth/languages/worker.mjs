// Signs in, or asks for a token many times at once: `worker.mjs login | tokens PROFILE TASKS`.
// Prints one JSON value a line, and of a token only its digest.
import { createHash } from 'node:crypto';
import { Engine, OpenClawAuthError } from '../../../bindings/node/index.mjs';

const show = (value) => console.log(JSON.stringify(value));

async function login(engine) {
  const flow = await engine.oauth('openai-codex', { timeoutMs: 30_000 });
  show({ url: flow.url });
  const { profileId } = await flow.finish();
  show({ profileId });
  flow.close();
}

async function ask(engine, profile) {
  try {
    const { access, source } = await engine.oauthToken(profile);
    return { token: createHash('sha256').update(access).digest('hex').slice(0, 16), source };
  } catch (error) {
    if (!(error instanceof OpenClawAuthError)) throw error;
    return { error: error.code, details: error.details };
  }
}

const [command, profile, tasks] = process.argv.slice(2);
const engine = await Engine.open({ config: {} });
if (command === 'login') {
  await login(engine);
} else if (command === 'tokens') {
  show(await Promise.all(Array.from({ length: Number(tasks) }, () => ask(engine, profile))));
} else {
  console.error('worker.mjs login | tokens PROFILE TASKS');
  process.exitCode = 64;
}
engine.close();
