import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { KEYS, open } from './help.mjs';

const OPENAI = { provider: 'openai' };

test('rotates through the keys on rate limits, and ends', async (t) => {
  const engine = await open(t, {}, { env: KEYS });
  const lease = await engine.lease(OPENAI);
  assert.deepEqual([lease.secret, lease.candidateId, lease.attempt, lease.kind], ['sk-one', 'env:OPENAI_API_KEYS', 1, 'api_key']);
  const verdict = await lease.report({ status: 429, headers: { 'retry-after': '7' }, body: { error: { message: 'slow down' } } });
  assert.deepEqual([verdict.kind, verdict.cause.reason, verdict.cause.retryAfterMs], ['retry', 'rate_limit', 7000]);
  assert.equal(verdict.candidateId, lease.candidateId);
  assert.deepEqual([lease.secret, lease.attempt, lease.chainId !== lease.id], ['sk-two', 2, true]);
  assert.equal(lease.reportSync({ status: 429, headers: [['Retry-After', '9']], body: Buffer.from('{}') }).kind, 'retry');
  const end = await lease.report({ status: 429, headers: new Headers({ 'retry-after': '30' }) });
  assert.deepEqual([end.kind, end.reason, end.httpStatus, end.attempts.length], ['exhausted', 'rate_limit', 429, 3]);
  assert.doesNotMatch(JSON.stringify(end), /sk-/);
  await assert.rejects(engine.lease(OPENAI), ({ code, retryAfterMs, retryable, details }) => {
    assert.equal(code, 'all_unavailable');
    assert.ok(retryAfterMs > 0 && retryable && details.soonestAvailableAt > Date.now());
    return true;
  });
});

test('other failures do not rotate keys', async (t) => {
  const engine = await open(t, {}, { env: KEYS });
  for (const outcome of [{ status: 500 }, { transport: 'connect' }, { reason: 'auth' }, { status: 200, code: 'server_error', type: 'server_error' }, { status: 401, message: 'no' }]) {
    const lease = engine.leaseSync(OPENAI);
    const verdict = await lease.report(outcome);
    assert.equal(verdict.kind, 'exhausted', inspect(outcome));
    lease.close();
  }
});

test('a success is answered at once', async (t) => {
  const engine = await open(t, {}, { env: KEYS });
  const lease = engine.tryLease(OPENAI);
  assert.equal(engine.leasesOut, 1);
  assert.deepEqual(lease.report({ status: 200, headers: new Headers() }), { kind: 'done' });
  assert.equal(engine.leasesOut, 0);
  assert.throws(() => lease.report({ status: 204 }), { code: 'lease_finished' });
  await assert.rejects(lease.report({ status: 429 }), { code: 'lease_finished' });
  assert.throws(() => lease.reportSync({}), { code: 'invalid_argument' });
  assert.throws(() => lease.reportSync({ statsu: 200 }), { code: 'invalid_argument' });
  assert.throws(() => lease.reportSync({ transport: 'magic' }), { code: 'invalid_argument' });
  lease.close();
  assert.throws(() => lease.secret, { code: 'engine_closed' });
  await assert.rejects(lease.report({ status: 429 }), { code: 'engine_closed' });
});

test('closing gives back, and works while a report is made', async (t) => {
  const engine = await open(t, {}, { env: KEYS });
  const lease = engine.tryLease(OPENAI);
  const reported = lease.report({ status: 429 });
  lease.close();
  assert.ok(['retry', 'engine_closed'].includes((await reported.catch((error) => ({ kind: error.code }))).kind));
  assert.equal(engine.leasesOut, 0);
  const other = engine.tryLease(OPENAI);
  engine.close();
  assert.match(other.secret, /^sk-/);
  other.close();
});

test('what cannot be had is null or an error', async (t) => {
  const engine = await open(t, {}, { env: KEYS });
  assert.throws(() => engine.tryLease({ provider: 'nobody' }), { code: 'no_credentials' });
  assert.throws(() => engine.leaseSync({}), { code: 'invalid_argument' });
  assert.throws(() => engine.leaseSync({ ...OPENAI, surprise: 1 }), { code: 'invalid_argument' });
  await assert.rejects(engine.lease({ ...OPENAI, profile: 'openai:gone' }), { code: 'profile_not_found' });
  await assert.rejects(engine.lease({ ...OPENAI, pin: {} }), { code: 'invalid_argument' });
});

test('nothing shows the secret but the secret', async (t) => {
  const engine = await open(t, {}, { env: { OPENAI_API_KEY: 'sk-canary' } });
  const lease = engine.tryLease(OPENAI);
  const shown = [inspect(lease, { depth: 9, showHidden: true }), JSON.stringify(lease), String(lease), Object.keys(lease).join()];
  assert.doesNotMatch(shown.join('\n'), /canary/);
  const copy = lease.secretBuffer();
  assert.equal(copy.toString(), 'sk-canary');
  lease.close();
  assert.ok(copy.every((byte) => byte === 0));
});

test('a lease that would have to wait is left to the one that waits', async (t) => {
  const stateDir = mkdtempSync(join(tmpdir(), 'openclaw-auth-'));
  t.after(() => rmSync(stateDir, { recursive: true }));
  const folder = join(stateDir, 'agents/main/agent');
  mkdirSync(folder, { recursive: true });
  const login = { type: 'oauth', provider: 'openai-codex', access: 'at', refresh: 'rt', expires: Date.now() - 1000 };
  writeFileSync(join(folder, 'auth-profiles.json'), JSON.stringify({ version: 1, profiles: { 'openai-codex:a': login } }), { mode: 0o600 });
  const engine = await open(t, {}, { stateDir });
  assert.equal(engine.tryLease({ provider: 'openai-codex' }), null);
});

test('a session keeps its profile and a chain of models goes on', async (t) => {
  const stateDir = mkdtempSync(join(tmpdir(), 'openclaw-auth-'));
  t.after(() => rmSync(stateDir, { recursive: true }));
  const engine = await open(t, {}, { stateDir, env: { ANTHROPIC_API_KEY: 'sk-ant' } });
  for (const name of ['a', 'b']) engine.addProfileSync({ profile: `openai:${name}`, provider: 'openai', secret: `sk-${name}` });
  const sticky = engine.leaseSync({ ...OPENAI, session: 's' });
  assert.equal(engine.session('s').authProfileOverride, sticky.profileId);
  const chain = engine.leaseSync({ models: ['openai/gpt-a', 'anthropic/claude-a'] });
  assert.deepEqual([chain.provider, chain.model, chain.source], ['openai', 'gpt-a', `profile:${chain.profileId}`]);
  const providers = [];
  while ((await chain.report({ status: 429 })).kind === 'retry') providers.push(chain.provider);
  assert.equal(providers.at(-1), 'anthropic');
  assert.equal(chain.accountId, undefined);
});

test('memory stays flat over 100,000 leases, closed or lost', { timeout: 120_000 }, async (t) => {
  const engine = await open(t, {}, { env: KEYS });
  const rounds = async (count, close) => {
    for (let i = 0; i < count; i += 1) {
      const lease = engine.tryLease(OPENAI);
      if (lease.secret.length !== 6) throw new Error('no secret');
      lease.report({ status: 200 });
      if (close) lease.close();
      // Finalizers run between turns of the event loop.
      if (i % 1000 === 999) await new Promise((resolve) => setImmediate(resolve));
    }
    globalThis.gc();
    await new Promise((resolve) => setTimeout(resolve, 20));
    return process.memoryUsage().rss;
  };
  for (const close of [true, false]) {
    const warm = await rounds(10_000, close);
    const after = await rounds(50_000, close);
    assert.ok(after - warm < 16e6, `${after - warm} bytes more, ${close ? 'closed' : 'lost'}`);
  }
  assert.equal(engine.leasesOut, 0);
});

test('leases that are lost without a report are given back', async (t) => {
  const engine = await open(t, {}, { env: KEYS });
  for (let i = 0; i < 1000; i += 1) engine.tryLease(OPENAI);
  for (let i = 0; i < 20 && engine.leasesOut > 0; i += 1) {
    globalThis.gc();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.equal(engine.leasesOut, 0);
});
