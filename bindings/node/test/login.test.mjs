import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Engine } from 'openclaw-auth';
import { listen } from './help.mjs';

/** An engine with a provider on loopback; the tokens that it hands out are numbered. */
async function signedOut(t, answer) {
  const asked = [];
  const url = await listen(t, createServer(async (request, response) => {
    const body = new URLSearchParams(Buffer.concat(await request.toArray()).toString());
    asked.push(Object.fromEntries(body));
    const given = answer?.(body) ?? { status: 200, access_token: `at-${asked.length}`, refresh_token: `rt-${asked.length}`, expires_in: 3600, token_type: 'Bearer' };
    const { status, ...tokens } = given;
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(tokens));
  }));
  const stateDir = mkdtempSync(join(tmpdir(), 'openclaw-auth-'));
  t.after(() => rmSync(stateDir, { recursive: true }));
  const provider = { label: 'Test', authorizeUrl: `${url}/authorize`, tokenUrl: `${url}/token`, clientId: 'me', redirectUri: 'http://127.0.0.1:{port}/callback', redirectPorts: [0] };
  const engine = await Engine.open({ config: { oauth: { providers: { test: provider } } }, stateDir, inheritEnv: false });
  t.after(() => engine.close());
  return { engine, asked };
}

test('signs in with the browser, lends the token, and refreshes it', async (t) => {
  const { engine, asked } = await signedOut(t);
  assert.ok(engine.oauthProviders().includes('test'));
  const login = await engine.oauth('test', { profile: 'test:me' });
  t.after(() => login.close());
  assert.deepEqual([login.provider, login.label, login.hasEnded], ['test', 'Test', false]);
  assert.equal(login.addresses.length >= 1, true);
  assert.ok(login.remainingMs > 0);
  assert.deepEqual(login.warnings, []);
  assert.equal(typeof login.isRemote, 'boolean');
  const url = new URL(login.url);
  assert.deepEqual([url.searchParams.get('state'), url.searchParams.get('redirect_uri')], [login.state, login.redirectUri]);
  const browser = fetch(`${login.redirectUri}?code=the-code&state=${login.state}`);
  const done = await login.finish({ timeoutMs: 10_000 });
  assert.deepEqual([done.profileId, done.provider], ['test:me', 'test']);
  assert.equal((await browser).status, 200);
  assert.equal(asked[0].code, 'the-code');
  const lease = engine.tryLease({ provider: 'test' });
  assert.deepEqual([lease.secret, lease.kind], ['at-1', 'oauth']);
  assert.equal((await engine.oauthToken('test:me')).access, 'at-1');
  assert.equal((await engine.oauthUnauthorized('test:me', 'at-1')).access, 'at-2');
  assert.equal((await engine.oauthToken('test:me', { force: true })).access, 'at-3');
  assert.equal(engine.oauthTokenSync('test:me', { minValidMs: 1000 }).access, 'at-3');
  assert.equal(engine.oauthUnauthorizedSync('test:me', 'at-1').source, 'stored');
  // The provider refuses the token that was lent: the next attempt has the new one.
  assert.equal((await lease.report({ status: 401 })).kind, 'retry');
  assert.equal(lease.secret, 'at-3');
});

test('signs in with a pasted address, sent by the program itself', async (t) => {
  const { engine } = await signedOut(t);
  const login = await engine.oauth('test');
  const address = `${login.redirectUri}?code=pasted&state=${login.state}`;
  await assert.rejects(login.complete('nonsense with no code'), { class: 'oauth' });
  const request = login.request(address);
  assert.equal(request.method, 'POST');
  assert.match(request.body, /pasted/);
  const done = await login.accept(200, JSON.stringify({ access_token: 'at-own', refresh_token: 'rt', expires_in: 60, token_type: 'Bearer' }));
  assert.match(done.profileId, /^test:/);
  assert.equal(login.hasEnded, true);
  login.close();
  assert.throws(() => login.url, { code: 'engine_closed' });
});

test('waiting ends with its time or its signal', async (t) => {
  const { engine } = await signedOut(t);
  const login = await engine.oauth('test', { timeoutMs: 60_000 });
  assert.equal(await login.listen({ timeoutMs: 20 }), undefined);
  assert.equal(await login.finish({ timeoutMs: 20 }), undefined);
  await assert.rejects(login.listen({ signal: AbortSignal.timeout(20) }), { name: 'TimeoutError' });
  login.close();
});

test('failures have the code of the provider', async (t) => {
  const { engine } = await signedOut(t, () => ({ status: 400, error: 'invalid_grant' }));
  const login = await engine.oauth('test');
  await assert.rejects(login.complete(`${login.redirectUri}?code=old&state=${login.state}`), { name: 'OpenClawAuthError', class: 'oauth' });
  assert.equal(login.hasEnded, true);
  await assert.rejects(engine.oauth('nobody'), { code: 'oauth_unknown_provider' });
  await assert.rejects(engine.oauthToken('test:gone'), { code: 'profile_not_found' });
  await assert.rejects(engine.oauthLink('codex-cli'), { code: 'oauth_external_cli_missing' });
  assert.throws(() => engine.oauthLinkSync('nothing'), { code: 'invalid_argument' });
  assert.equal(await engine.externalLogin('claude-cli'), engine.externalLoginSync('claude-cli'));
});
