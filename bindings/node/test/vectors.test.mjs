// The examples that every language runs.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Engine, OpenClawAuthError, classify } from 'openclaw-auth';

function vectors(name) {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const path = join(folder, 'tests/vectors', name);
    if (existsSync(path)) return readFileSync(path, 'utf8');
    if (folder === dirname(folder)) throw new Error(`no ${name}`);
  }
}

const access = JSON.parse(vectors('access.json'));

/** A decision in the words of the examples. */
function told(decision) {
  const words = { ...decision, ok: decision.allowed, status: decision.httpStatus };
  return (key) => words[key] ?? null;
}

test('access: decisions', async () => {
  let ran = 0;
  for (const { id, config, env, request, interfaces, interfaceDiscoveryFails, expect } of access.decisions) {
    ran += 1;
    const ownAddresses = interfaceDiscoveryFails ? false : interfaces;
    let engine;
    try {
      engine = Engine.openSync({ config, env, ownAddresses, inheritEnv: false, requireAccess: true });
    } catch (error) {
      // Settings with which no engine opens are refused with the same code.
      assert.deepEqual([error.code, expect.status], [expect.code, 500], id);
      continue;
    }
    const facts = request && {
      remote: request.remote ?? undefined,
      local: request.local ?? undefined,
      lines: request.headers ?? [],
      webSocket: request.kind === 'websocket',
      tls: request.tls,
      ...request.credentials,
    };
    const found = told(engine.authorize(facts));
    for (const [key, value] of Object.entries(expect)) assert.equal(found(key), value, `${id}: ${key}`);
    engine.close();
  }
  assert.equal(ran, 236);
});

test('access: limits over time', () => {
  for (const { id, rateLimit, config, steps } of access.limiter) {
    config.gateway.auth.rateLimit = rateLimit;
    const engine = Engine.openSync({ config, inheritEnv: false, manualClock: 1_790_000_000_000, ownAddresses: [] });
    let now = 0;
    for (const { t, remote, cred, headers, code, retryAfter } of steps) {
      engine.clockAdvance(t - now);
      now = t;
      const token = { good: config.gateway.auth.token, bad: 'not the token at all' }[cred];
      const decision = engine.authorize({ remote, lines: headers, token });
      assert.equal(decision.allowed ? 'ok' : decision.code, code, `${id} at ${t}`);
      assert.equal(decision.retryAfterMs ? Math.ceil(decision.retryAfterMs / 1000) : null, retryAfter, `${id} at ${t}`);
    }
    engine.close();
  }
});

/** Writes the files of an example of secrets. */
function prepare(vector, home) {
  const write = (path, text, mode) => {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    chmodSync(path, mode);
  };
  for (const [path, { text, symlinkTo, mode }] of Object.entries(vector.files ?? {})) {
    if (text != null) {
      write(path, text, parseInt(mode ?? '600', 8));
      continue;
    }
    mkdirSync(dirname(path), { recursive: true });
    if (symlinkTo != null) symlinkSync(symlinkTo, path);
    else execFileSync('mkfifo', ['-m', '600', path]);
  }
  for (const [path, { sh, mode }] of Object.entries(vector.exec ?? {})) write(path, `#!/bin/sh\n${sh}\n`, parseInt(mode ?? '700', 8));
  if (vector.config !== undefined) write(join(home, '.openclaw/openclaw.json'), JSON.stringify(vector.config), 0o600);
  if (vector.workspaceDotenv != null) write(join(home, '.env'), vector.workspaceDotenv, 0o600);
}

// Examples of parts that are not built yet.
const LATER = ['P01', 'P02', 'P03', 'P04', 'P05', 'T08'];

test('secrets: loading and activating', async () => {
  const saved = { ...process.env };
  const mask = process.umask(0o022);
  let ran = 0;
  try {
    for (const line of vectors('secrets.jsonl').trim().split('\n')) {
      const home = realpathSync(mkdtempSync(join(tmpdir(), 'openclaw-auth-')));
      const vector = JSON.parse(line.replaceAll('%H%', home));
      if (['load', 'activate'].includes(vector.op) && !LATER.includes(vector.id)) {
        ran += 1;
        for (const name of Object.keys(process.env)) delete process.env[name];
        // Before the variables of the example, which may be any.
        process.env.PATH = '/usr/bin:/bin';
        prepare(vector, home);
        Object.assign(process.env, { HOME: home }, vector.env);
        await runSecrets(vector);
      }
      rmSync(home, { recursive: true, force: true });
    }
  } finally {
    for (const name of Object.keys(process.env)) delete process.env[name];
    Object.assign(process.env, saved);
    process.umask(mask);
  }
  assert.ok(ran > 180, `${ran} ran`);
});

async function runSecrets({ id, then }) {
  const engine = await Engine.open().catch((error) => error);
  if (engine instanceof OpenClawAuthError) {
    checkFailure(id, then, engine);
    return;
  }
  assert.equal(then.error, undefined, id);
  for (const [path, value] of Object.entries(then.values ?? {})) {
    const secret = engine.secret(path);
    if (typeof value === 'string') assert.equal(secret, value, `${id}: ${path}`);
    else assert.deepEqual(JSON.parse(secret), value, `${id}: ${path}`);
  }
  for (const path of Object.keys(then.inactive ?? {})) {
    assert.throws(() => engine.secret(path), { code: 'secret_inactive' }, `${id}: ${path}`);
  }
  engine.close();
}

function checkFailure(id, then, failure) {
  assert.ok(then.error !== undefined || then.failures !== undefined, `${id}: ${failure}`);
  const { failures = [], issues = [] } = failure.details;
  const all = [...failures, ...issues.filter(({ severity }) => severity === 'error')];
  const [first] = all;
  assert.ok(first, `${id}: ${failure}`);
  if (then.error) assert.equal(first.code.toLowerCase(), then.error.toLowerCase(), id);
  for (const key of ['line', 'column', 'reason']) {
    if (then[key] != null) assert.equal(first[key], then[key], `${id}: ${key}`);
  }
  assert.doesNotMatch(`${failure.message}${JSON.stringify(failure)}`, /CANARY/, id);
}

test('profiles, keys, sessions and leases', async () => {
  const { now, cases } = JSON.parse(vectors('profiles.json'));
  const failures = [];
  for (const example of cases) {
    const world = new World(example, now);
    for (const [index, step] of example.steps.entries()) {
      try {
        await world[step.op](step);
      } catch (error) {
        failures.push(`${example.id} step ${index} ${step.op}: ${error.message}`);
        break;
      }
    }
    world.end();
  }
  assert.ok(cases.length > 200);
  assert.deepEqual(failures, []);
});

/** One example of profiles: a method for each kind of step. */
class World {
  constructor({ config = {}, env = {}, store, storeLater }, now) {
    this.now = now;
    this.folder = mkdtempSync(join(tmpdir(), 'openclaw-auth-'));
    this.path = join(this.folder, 'agents/main/agent/auth-profiles.json');
    if (store) this.write(store);
    this.engine = Engine.openSync({ config, env, stateDir: this.folder, manualClock: now, inheritEnv: false });
    if (storeLater) this.write(storeLater);
    this.leases = {};
  }

  end() {
    this.engine.close();
    rmSync(this.folder, { recursive: true });
  }

  write(store) {
    mkdirSync(dirname(this.path), { recursive: true });
    writeFileSync(this.path, JSON.stringify(store, null, 2), { mode: 0o600 });
  }

  advance({ ms }) {
    this.engine.clockAdvance(ms);
    this.now += ms;
  }

  async flush() {
    assert.equal(await this.engine.flush(), true);
  }

  async eligibility({ profile, provider, expect }) {
    assert.equal(await this.engine.eligibility({ profile, provider }), expect);
  }

  async order({ provider, model, prefer, expect }) {
    assert.deepEqual(await this.engine.profileOrder({ provider, model, prefer }), expect);
  }

  env({ provider, expect }) {
    assert.deepEqual(this.engine.envCandidates(provider).map(({ id, kind }) => `${id} ${kind}`), expect);
  }

  async keys({ provider, expect }) {
    const found = [];
    const lease = await this.engine.lease({ provider }).catch(() => undefined);
    while (lease) {
      found.push(lease.secret);
      if ((await lease.report({ status: 429 })).kind !== 'retry') break;
    }
    assert.deepEqual(found, expect);
  }

  classify({ signal, expect }) {
    subset(expect, classify(outcome(signal), this.now));
  }

  async lease({ as = 'l', expect, op, new_session: newSession, compaction_count: compactionCount, ...request }) {
    const lease = await this.engine.lease({ ...request, newSession, compactionCount }).catch((error) => error);
    if (lease instanceof Error) {
      const { code: error, hint, message, details, retryAfterMs } = lease;
      const { messageHas, ...rest } = expect;
      subset(rest, { error, hint, retryAfterMs, reason: details.reason, reasonCode: details.reasonCode, soonest: details.soonestAvailableAt });
      assert.ok(message.includes(messageHas ?? ''), message);
      return;
    }
    this.leases[as] = lease;
    const { candidateId: candidate, kind, model, probe, source, warning, skipped } = lease.toJSON();
    subset(expect, { candidate, credential: lease.secret, kind, model, probe, source, warning, skipped: skipped.map((one) => `${one.candidateId} ${one.reason}`) });
  }

  async fail({ on, signal, expect }) {
    const lease = this.leases[on];
    const verdict = await lease.report(outcome(signal));
    if (verdict.kind === 'retry') {
      assert.equal(expect.exhausted, undefined, `${lease.candidateId} instead of the end`);
      if (typeof expect.retry === 'string') assert.equal(lease.candidateId, expect.retry);
      if ('model' in expect) assert.equal(lease.model ?? null, expect.model);
      if ('switchedModel' in expect) assert.equal(lease.toJSON().switchedModel, expect.switchedModel);
      return;
    }
    assert.equal(verdict.kind, 'exhausted');
    assert.equal(expect.retry, undefined, verdict.message);
    subset(expect, {
      exhausted: verdict.reason,
      retryable: verdict.retryable,
      attempts: verdict.attempts.filter((one) => one.outcome === 'failed').length,
      soonest: verdict.soonestAvailableAt,
      retryAfterMs: verdict.retryAfterMs,
      advice: verdict.advice,
      lastStatus: verdict.lastError.status,
      lastMessage: verdict.lastError.message,
    });
  }

  succeed({ on, expect }) {
    const report = () => this.leases[on].report({ status: 200 });
    if (expect?.error) assert.throws(report, { code: expect.error });
    else assert.equal(report().kind, 'done');
  }

  release({ on }) {
    // A lease that was given back cannot be reported: the same as closing it, to the engine.
    this.leases[on].close();
  }

  record({ profile, expect }) {
    subset(expect, JSON.parse(readFileSync(this.path, 'utf8')).usageStats?.[profile]);
  }

  async events({ expect }) {
    await this.engine.profileOrder({ provider: 'a' }).catch(() => {});
    const codes = this.engine.events().map(({ code }) => code);
    for (const code of expect) assert.ok(codes.includes(code), `no ${code} in ${codes}`);
  }

  set_session({ session, value }) {
    this.engine.setSession(session, value);
  }

  session({ session, expect }) {
    this.engine.setSession('as expected', expect ?? {});
    assert.deepEqual(this.engine.session(session), this.engine.session('as expected'));
  }

  async chat({ session, message, shown, expect }) {
    const reply = await this.engine.chat({ session, message, shown }).catch((error) => error);
    if (reply instanceof Error) {
      assert.deepEqual([reply.code, reply.message], [expect.error, expect.message]);
    } else if (reply === undefined) {
      assert.equal(expect, null);
    } else {
      assert.equal(reply.directive.kind, expect.directive);
      if ('rest' in expect) assert.equal(reply.rest, expect.rest);
      if ('session' in expect) assert.deepEqual(reply.session, expect.session);
    }
  }

  async clear({ profile, what }) {
    await this.engine.clearCooldown({ profile, what });
  }
}

function outcome({ kind, ...signal }) {
  return { ...signal, type: kind };
}

/** Whether everything that is expected is there; null stands for nothing. */
function subset(expect, found, place = '') {
  if (expect !== null && typeof expect === 'object' && !Array.isArray(expect)) {
    for (const [key, value] of Object.entries(expect)) subset(value, found?.[key], `${place}.${key}`);
  } else {
    assert.deepEqual(found ?? null, expect, `${place}: ${JSON.stringify(found)} instead of ${JSON.stringify(expect)}`);
  }
}
