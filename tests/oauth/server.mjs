// A certified OpenID provider on loopback that can be told to behave badly.
//
// Prints `PORT <n>` when it listens. Beside the provider itself:
//   POST /__test/config  changes settings (the object `config` below)
//   GET  /__test/stats   what has happened so far
//   GET  /__test/issued  every token, code and verifier so far
//   POST /__test/reset   settings and counters as at the start
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const START = {
  accessTtl: 3600, // seconds
  account: 'alice',
  deny: false,
  delayMs: 0, // before a token request is processed
  delayAfterMs: 0, // after it was processed, before it is answered
  dropAfterProcessing: 0, // so many token requests are processed and then never answered
  status: 0, // answers the next `times` token requests with this status …
  body: '{}', // … and this body, without processing them
  contentType: 'application/json',
  times: 0,
  omit: [], // members that are left out of token answers
};
let config = { ...START };
let stats = {};
// Every token, code and verifier of this process; none of them may be shown anywhere.
const issued = [];
const reset = () => {
  config = { ...START };
  stats = { code: 0, refresh: 0, errors: 0, rotations: 0, revocations: 0, faked: 0 };
};
reset();

const server = createServer();
await new Promise((done) => server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', done));
const issuer = `http://127.0.0.1:${server.address().port}`;
const API = 'urn:openclaw-auth:test';

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: 'app_test_public',
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      redirect_uris: ['http://127.0.0.1/auth/callback', 'http://localhost/auth/callback'],
    },
  ],
  cookies: { keys: ['only for tests'] },
  scopes: ['openid', 'profile', 'email', 'offline_access'],
  claims: { openid: ['sub'], email: ['email'], profile: ['name'] },
  pkce: { required: () => true },
  rotateRefreshToken: true,
  issueRefreshToken: async () => true,
  ttl: { RefreshToken: 86400, AuthorizationCode: 60, Grant: 86400, Session: 86400, Interaction: 600 },
  findAccount: async (_ctx, id) => ({
    accountId: id,
    claims: async () => ({ sub: id, email: `${id}@example.com` }),
  }),
  extraTokenClaims: async (_ctx, token) => ({
    'https://api.openai.com/auth': {
      chatgpt_account_id: `acct-${token.accountId}`,
      chatgpt_user_id: `user-${token.accountId}`,
    },
    'https://api.openai.com/profile': { email: `${token.accountId}@example.com` },
  }),
  features: {
    devInteractions: { enabled: false },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: async () => API,
      useGrantedResource: async () => true,
      getResourceServerInfo: async () => ({
        scope: 'openid profile email offline_access',
        audience: API,
        accessTokenFormat: 'jwt',
        accessTokenTTL: config.accessTtl,
      }),
    },
  },
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
});

provider.on('grant.success', (ctx) => {
  const { grant_type: grant, code, code_verifier: verifier } = ctx.oidc.params;
  stats[grant === 'refresh_token' ? 'refresh' : 'code'] += 1;
  const { access_token: access, refresh_token: refresh, id_token: id } = ctx.body;
  issued.push(...[code, verifier, access, refresh, id].filter(Boolean));
});
provider.on('grant.error', () => { stats.errors += 1; });
provider.on('grant.revoked', () => { stats.revocations += 1; });
provider.on('refresh_token.consumed', () => { stats.rotations += 1; });
const oidc = provider.callback();

server.on('request', async (req, res) => {
  const path = new URL(req.url, issuer).pathname;
  if (path.startsWith('/__test/')) return control(req, res, path);
  if (path.startsWith('/interaction/')) return interaction(req, res);
  if (req.method === 'POST' && path === '/token') return token(req, res);
  return oidc(req, res);
});

async function control(req, res, path) {
  let text = '';
  for await (const chunk of req) text += chunk;
  if (path === '/__test/reset') reset();
  if (path === '/__test/config') config = { ...config, ...JSON.parse(text) };
  res.setHeader('content-type', 'application/json');
  const answers = { '/__test/stats': stats, '/__test/issued': issued };
  res.end(JSON.stringify(answers[path] ?? config));
}

// Nobody is there to click: signs in, then consents.
async function interaction(req, res) {
  const { prompt, params, session, grantId } = await provider.interactionDetails(req, res);
  let result;
  if (config.deny) {
    result = { error: 'access_denied', error_description: 'End-User denied' };
  } else if (prompt.name === 'login') {
    result = { login: { accountId: config.account } };
  } else {
    const grant = grantId
      ? await provider.Grant.find(grantId)
      : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    grant.addOIDCScope((prompt.details.missingOIDCScope ?? []).join(' '));
    for (const [name, scopes] of Object.entries(prompt.details.missingResourceScopes ?? {})) {
      grant.addResourceScope(name, scopes.join(' '));
    }
    result = { consent: { grantId: await grant.save() } };
  }
  await provider.interactionFinished(req, res, result, { mergeWithLastSubmission: true });
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function token(req, res) {
  if (config.delayMs) await sleep(config.delayMs);
  if (config.status && config.times > 0) {
    config.times -= 1;
    stats.faked += 1;
    res.writeHead(config.status, { 'content-type': config.contentType });
    return res.end(config.body);
  }
  const end = res.end.bind(res);
  const drop = config.dropAfterProcessing > 0;
  if (drop) config.dropAfterProcessing -= 1;
  res.end = (body, ...rest) => {
    if (drop) return req.socket.destroy();
    if (config.omit.length && res.statusCode === 200) {
      const answer = JSON.parse(String(body));
      for (const name of config.omit) delete answer[name];
      body = JSON.stringify(answer);
      res.setHeader('content-length', Buffer.byteLength(body));
    }
    if (config.delayAfterMs) return setTimeout(() => end(body, ...rest), config.delayAfterMs);
    return end(body, ...rest);
  };
  return oidc(req, res);
}

console.log(`PORT ${server.address().port}`);
