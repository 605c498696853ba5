// What the tests share.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { Engine } from 'openclaw-auth';

/** Opens an engine that sees nothing of this machine's configuration, and closes it after the test. */
export async function open(t, config = {}, options = {}) {
  const engine = await Engine.open({ config, inheritEnv: false, ...options });
  t.after(() => engine.close());
  return engine;
}

/** Keys of OpenAI in the environment. */
export const KEYS = { OPENAI_API_KEYS: 'sk-one,sk-two,sk-three' };

export const PROVIDERS = {
  models: {
    providers: {
      openai: { baseUrl: 'https://api.openai.com/v1', api: 'openai-completions', apiKey: '${OPENAI_API_KEY}', models: [] },
    },
  },
};

/** Users are named by a proxy, on this machine or at 10.0.0.7. */
export const BEHIND_PROXY = {
  gateway: {
    trustedProxies: ['127.0.0.1', '10.0.0.7'],
    auth: { mode: 'trusted-proxy', trustedProxy: { userHeader: 'x-forwarded-user', allowUsers: ['nick'] } },
  },
};

/** Starts a server on a free port and gives its address. */
export async function listen(t, server) {
  const plain = typeof server === 'function' ? createServer(server) : server;
  plain.listen(0, '127.0.0.1');
  await once(plain, 'listening');
  t.after(() => {
    plain.closeAllConnections?.();
    plain.close();
  });
  return `http://127.0.0.1:${plain.address().port}`;
}
