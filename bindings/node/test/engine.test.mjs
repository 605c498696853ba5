import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import * as esm from 'openclaw-auth';
import { KEYS, PROVIDERS, open } from './help.mjs';

const { Engine, OpenClawAuthError } = esm;
const require = createRequire(import.meta.url);
const OPENAI = 'models.providers.openai.apiKey';

test('both module systems give the same things, and nothing else', () => {
  const cjs = require('openclaw-auth');
  assert.deepEqual(Object.keys(cjs).sort(), Object.keys(esm).sort());
  for (const name of Object.keys(cjs)) assert.equal(cjs[name], esm[name], name);
  assert.equal(cjs.version, require('openclaw-auth/package.json').version);
});

test('opens, reads a secret, and closes', async (t) => {
  const engine = await open(t, PROVIDERS, { env: { OPENAI_API_KEY: 'sk-ü' } });
  assert.equal(engine.generation, 1);
  assert.equal(engine.degraded, false);
  assert.equal(engine.secret(OPENAI), 'sk-ü');
  engine.close();
  engine.close();
  assert.throws(() => engine.secret(OPENAI), { code: 'engine_closed' });
  assert.throws(() => engine.generation, { code: 'engine_closed' });
  await assert.rejects(engine.reload(), { code: 'engine_closed' });
  assert.equal(engine.id, 0);
});

test('everything that is wrong is in one error', async () => {
  const failure = await Engine.open({ config: { secrets: {}, models: { providers: { a: { apiKey: { source: 'env', provider: 'default', id: 'NOT_THERE' } } } } }, inheritEnv: false }).catch((error) => error);
  assert.ok(failure instanceof OpenClawAuthError && failure instanceof Error);
  assert.equal(failure.name, 'OpenClawAuthError');
  assert.equal(failure.code, 'secret_unresolved');
  assert.equal(failure.class, 'secret');
  assert.equal(failure.details.failures[0].code, 'secret_ref_not_found');
  assert.equal(JSON.parse(JSON.stringify(failure)).code, 'secret_unresolved');
  assert.throws(() => Engine.openSync({ configText: '{ a: ', inheritEnv: false }), { name: 'OpenClawAuthError', class: 'config' });
  assert.throws(() => Engine.openSync({ configPath: '/nowhere/openclaw.json' }), { code: 'config_not_found' });
});

test('mistakes in calls are errors of their own', async (t) => {
  const engine = await open(t);
  const invalid = { code: 'invalid_argument' };
  await assert.rejects(Engine.open({ configFile: 'x' }), invalid);
  await assert.rejects(Engine.open({ configText: '{}', config: {} }), invalid);
  await assert.rejects(Engine.open({ configText: '{}', env: { A: 5 } }), invalid);
  await assert.rejects(Engine.open({ configText: '{}', deadlineMs: -1 }), invalid);
  await assert.rejects(Engine.open({ configText: '{}', access: { port: 70000 } }), invalid);
  await assert.rejects(Engine.open({ configText: '{}', access: { mode: 'magic' } }), invalid);
  assert.throws(() => engine.secret(5), invalid);
  assert.throws(() => engine.secret(), invalid);
  assert.throws(() => engine.reloadSync({ signal: new AbortController().signal }), invalid);
  assert.throws(() => engine.tryLease({ provider: 5 }), invalid);
  assert.throws(() => new Engine(), invalid);
  assert.throws(() => new esm.Snapshot(), invalid);
  assert.throws(() => new esm.Lease(), invalid);
  assert.throws(() => new esm.Login(), invalid);
  assert.throws(() => engine.secret('no.such.path'), { code: 'secret_path_unknown' });
});

test('a signal ends waiting with its reason', async (t) => {
  const slow = {
    secrets: { providers: { p: { source: 'exec', command: '/bin/sleep', args: ['2'], jsonOnly: false } } },
    models: { providers: { a: { apiKey: { source: 'exec', provider: 'p', id: 'value' } } } },
  };
  const before = performance.now();
  const opening = Engine.open({ config: slow, inheritEnv: false, signal: AbortSignal.timeout(30) });
  await assert.rejects(opening, { name: 'TimeoutError' });
  assert.ok(performance.now() - before < 1900);
  const reason = new Error('enough');
  await assert.rejects(Engine.open({ config: {}, signal: AbortSignal.abort(reason) }), reason);
  const engine = await open(t);
  await assert.rejects(engine.reload({ signal: AbortSignal.abort(reason) }), reason);
  await assert.rejects(engine.lease({ provider: 'openai', signal: AbortSignal.abort(reason) }), reason);
});

test('an engine that opens after its signal is given back', async (t) => {
  const signal = AbortSignal.timeout(1);
  const outcome = await Engine.open({ config: PROVIDERS, env: KEYS, inheritEnv: false, signal }).catch((error) => error);
  if (outcome instanceof Engine) t.after(() => outcome.close());
  else assert.equal(outcome.name, 'TimeoutError');
});

test('reloads as one, keeps the last good secrets, and tells', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'openclaw-auth-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const configPath = join(folder, 'openclaw.json');
  const write = (key) => writeFileSync(configPath, JSON.stringify({ models: { providers: { openai: { ...PROVIDERS.models.providers.openai, apiKey: key } } } }), { mode: 0o600 });
  write('sk-before');
  const engine = await Engine.open({ configPath, stateDir: folder, inheritEnv: false });
  t.after(() => engine.close());
  const before = engine.snapshot();
  assert.equal(engine.filesChanged(), false);
  write('sk-after-it');
  assert.equal(engine.filesChanged(), true);
  const report = await engine.reload();
  assert.equal(report.generation, 2);
  assert.deepEqual(report.changedPaths, [OPENAI]);
  assert.equal(engine.secret(OPENAI), 'sk-after-it');
  assert.equal(before.secret(OPENAI), 'sk-before');
  assert.equal(before.generation, 1);
  before.close();
  assert.throws(() => before.secret(OPENAI), { code: 'engine_closed' });
  writeFileSync(configPath, '{ broken');
  await assert.rejects(engine.reload(), { class: 'config' });
  assert.equal(engine.degraded, true);
  assert.equal(engine.secret(OPENAI), 'sk-after-it');
  write('sk-again');
  assert.equal(engine.reloadSync().generation, 3);
  const codes = engine.events().map((event) => event.code);
  assert.deepEqual(codes, ['SECRETS_ACTIVATED', 'SECRETS_RELOADED', 'SECRETS_RELOADER_DEGRADED', 'SECRETS_RELOADER_RECOVERED', 'SECRETS_RELOADED']);
  assert.deepEqual(engine.events(), []);
});

test('a snapshot shows settings and hides secrets', async (t) => {
  const engine = await open(t, PROVIDERS, { env: { OPENAI_API_KEY: 'sk-canary' } });
  const snapshot = engine.snapshot();
  assert.equal(snapshot.value('models.providers.openai.api'), 'openai-completions');
  assert.equal(snapshot.value('models.providers.nobody'), undefined);
  assert.throws(() => snapshot.value(OPENAI), { code: 'secret_use_typed_read' });
  assert.equal(snapshot.secretRef('env:default:OPENAI_API_KEY'), 'sk-canary');
  assert.throws(() => snapshot.secretRef('env:default:OTHER'), { code: 'secret_ref_not_in_snapshot' });
  assert.equal(snapshot.surfaces().find(({ path }) => path === OPENAI).state, 'ready');
  assert.ok(snapshot.activatedAt > 1_700_000_000_000);
  assert.deepEqual([snapshot.issues(), snapshot.diagnostics()], [[], []]);
  assert.doesNotMatch(JSON.stringify(snapshot.config()), /canary/);
});

test('configurations are tried without being used', async (t) => {
  const engine = await open(t, PROVIDERS, { env: { OPENAI_API_KEY: 'sk' } });
  const text = '{ models: { providers: { a: { apiKey: "${GONE}" } } } }';
  assert.equal(engine.preflightSync({ text }).ok, false);
  assert.equal((await engine.preflight()).ok, true);
  assert.equal((await engine.reloadText('{}')).generation, 2);
  assert.throws(() => engine.reloadTextSync('{'), { class: 'config' });
  assert.equal((await engine.audit()).status !== undefined, true);
  assert.deepEqual(engine.auditSync().version, (await engine.audit()).version);
  assert.ok((await engine.targets()).some(({ path }) => path === OPENAI));
  assert.ok(engine.targetsSync({ empty: true }).length > 0);
  const shown = engine.snapshot().config();
  assert.deepEqual(await engine.restoreRedacted(shown), engine.restoreRedactedSync(shown));
});

test('the status names credentials and shows none', async (t) => {
  const engine = await open(t, { agents: { defaults: { model: { primary: 'openai/gpt-a' } } } }, { env: { OPENAI_API_KEY: 'sk-canary-0123456789' } });
  const status = await engine.status();
  assert.equal(status.resolvedDefault, 'openai/gpt-a');
  assert.deepEqual(status.auth.providers.map(({ provider }) => provider), ['openai']);
  assert.doesNotMatch(JSON.stringify(status), /canary/);
  assert.deepEqual(engine.statusSync({ providers: ['openai'] }).auth.missingProvidersInUse, []);
  await assert.rejects(engine.status({ agent: 'nobody' }), { code: 'unknown_agent' });
});

test('the doctor examines what opens and what does not', async (t) => {
  const stateDir = mkdtempSync(join(tmpdir(), 'openclaw-auth-'));
  t.after(() => rmSync(stateDir, { recursive: true }));
  const engine = await open(t, {}, { stateDir });
  const report = await engine.doctor();
  assert.ok(report.checksRun > 5);
  assert.deepEqual(engine.doctorSync({ only: report.findings.map(({ checkId }) => checkId) }).ok, report.ok);
  await assert.rejects(engine.doctor({ only: ['no.such.check'] }), { code: 'invalid_argument' });
  const broken = { configText: '{ broken', stateDir, inheritEnv: false };
  const found = await Engine.doctor(broken);
  assert.equal(found.ok, false);
  assert.deepEqual(Engine.doctorSync(broken), found);
  assert.throws(() => Engine.doctorSync({ surprise: 1 }), { code: 'invalid_argument' });
});

test('a host adds secret surfaces of its own', async (t) => {
  const engine = await open(t, { mychat: { token: '${CHAT}' } }, { env: { CHAT: 'secret' }, rules: [{ id: 'mychat', pattern: 'mychat.token' }] }).catch((error) => error);
  if (engine instanceof OpenClawAuthError) assert.fail(JSON.stringify(engine));
  assert.equal(engine.secret('mychat.token'), 'secret');
  engine.addRules([{ id: 'mychat.more', pattern: 'mychat.other' }]);
  assert.throws(() => engine.addRules([{ id: 'mychat.more', pattern: 'mychat.other' }]), { code: 'rule_invalid' });
  assert.equal(engine.removeRules('mychat'), 2);
});

test('profiles, orders, sessions and models', async (t) => {
  const stateDir = mkdtempSync(join(tmpdir(), 'openclaw-auth-'));
  t.after(() => rmSync(stateDir, { recursive: true }));
  const config = { agents: { defaults: { model: { primary: 'openai/gpt-a' }, models: { 'openai/gpt-a': {}, 'openai/gpt-b': { alias: 'b' } } } } };
  const engine = await open(t, config, { stateDir, env: KEYS });
  await engine.addProfile({ profile: 'openai:work', provider: 'openai', secret: 'sk-canary-0123456789' });
  engine.addProfileSync({ profile: 'openai:home', provider: 'openai', ref: 'env:default:OPENAI_API_KEYS' });
  await assert.rejects(engine.addProfile({ profile: 'openai:work', provider: 'openai', secret: 'x' }), { code: 'profile_exists' });
  await assert.rejects(engine.addProfile({ profile: 'openai:none', provider: 'openai' }), { code: 'invalid_argument' });
  const listed = await engine.profiles();
  assert.deepEqual(listed.profiles.map(({ id }) => id).sort(), ['openai:home', 'openai:work']);
  assert.doesNotMatch(JSON.stringify(listed), /canary/);
  assert.deepEqual(engine.profilesSync(), listed);
  assert.equal(await engine.eligibility({ profile: 'openai:work', provider: 'openai' }), 'ok');
  assert.equal(engine.eligibilitySync({ profile: 'openai:gone', provider: 'openai' }), 'profile_missing');
  await engine.setOrder({ provider: 'openai', profiles: ['openai:work'] });
  assert.deepEqual((await engine.order({ provider: 'openai' })).order, ['openai:work']);
  assert.deepEqual(await engine.profileOrder({ provider: 'openai' }), ['openai:work']);
  engine.setOrderSync({ provider: 'openai' });
  assert.equal(engine.orderSync({ provider: 'openai' }).order, null);
  assert.equal(engine.profileOrderSync({ provider: 'openai' }).length, 2);
  await engine.clearCooldown({ profile: 'openai:work', what: 'all' });
  engine.clearCooldownSync();
  assert.deepEqual(engine.envCandidates('openai').map(({ kind }) => kind), ['api_key', 'api_key', 'api_key']);

  const reply = await engine.chat({ session: 's', message: '/model b@openai:work hello' });
  assert.equal(reply.directive.kind, 'select');
  assert.equal(reply.rest, 'hello');
  assert.equal(engine.chatSync({ session: 's', message: 'hello' }), undefined);
  await assert.rejects(engine.chat({ session: 's', message: '/model nonsense/x' }), { code: 'model_not_allowed' });
  assert.equal(engine.session('s').authProfileOverride, 'openai:work');
  assert.equal((await engine.models({ session: 's' })).length, engine.modelsSync({ session: 's' }).length);
  assert.deepEqual(await engine.modelChain(), ['openai/gpt-a']);
  assert.deepEqual(engine.modelChainSync({ requested: 'b' })[0], 'openai/gpt-b');
  const sessions = engine.exportSessions();
  engine.setSession('s', {});
  assert.deepEqual(engine.session('s'), {});
  engine.importSessions(sessions);
  assert.equal(engine.session('s').modelOverride, 'gpt-b');
  await engine.removeProfile({ profile: 'openai:home' });
  assert.throws(() => engine.removeProfileSync({ profile: 'openai:home' }), { code: 'profile_not_found' });
  assert.equal(await engine.flush(), true);
  assert.equal(engine.flushSync(), true);
});

test('engines go by themselves when they are lost', async () => {
  const before = process.memoryUsage().rss;
  for (let i = 0; i < 200; i += 1) {
    Engine.openSync({ config: PROVIDERS, env: { OPENAI_API_KEY: 'x'.repeat(1_000_000) }, inheritEnv: false });
    if (i % 20 === 19) {
      globalThis.gc();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  const grown = process.memoryUsage().rss - before;
  assert.ok(grown < 120e6, `${grown} bytes more`);
});

test('using ends with the block', { skip: !Symbol.dispose && 'this Node has no Symbol.dispose' }, async (t) => {
  const engine = await open(t, {}, { env: KEYS });
  const lease = engine.tryLease({ provider: 'openai' });
  for (const held of [lease, engine.snapshot(), engine]) held[Symbol.dispose]();
  assert.throws(() => lease.secret, { code: 'engine_closed' });
  assert.equal(engine.id, 0);
});
