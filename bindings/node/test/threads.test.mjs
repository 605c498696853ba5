import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { Engine } from 'openclaw-auth';
import { BEHIND_PROXY, KEYS, open } from './help.mjs';

function worker(t, code, workerData) {
  const text = `
    import { parentPort, workerData } from 'node:worker_threads';
    import { Engine } from ${JSON.stringify(import.meta.resolve('openclaw-auth'))};
    ${code}`;
  const started = new Worker(new URL(`data:text/javascript,${encodeURIComponent(text)}`), { workerData });
  t.after(() => started.terminate());
  return started;
}

test('threads share one engine: keys, limits and reloads', async (t) => {
  const engine = await open(t, BEHIND_PROXY, { env: KEYS });
  const threads = Array.from({ length: 3 }, () => worker(t, `
    const engine = Engine.attach(workerData);
    parentPort.on('message', async (question) => {
      const lease = engine.tryLease({ provider: 'openai' });
      const secret = lease?.secret;
      if (question === 'limit') await lease.report({ status: 429 });
      if (question === 'spin') for (let i = 0; i < 2000; i += 1) engine.tryLease({ provider: 'openai' }).close();
      if (question === 'close') engine.close();
      lease?.close();
      parentPort.postMessage({ secret, generation: engine.id && engine.generation });
    });`, engine.id));
  const ask = async (index, question) => {
    threads[index].postMessage(question);
    const [answer] = await once(threads[index], 'message');
    return answer;
  };
  assert.deepEqual(await ask(0, 'limit'), { secret: 'sk-one', generation: 1 });
  assert.deepEqual(await ask(1, 'look'), { secret: 'sk-two', generation: 1 });
  const changed = structuredClone(BEHIND_PROXY);
  changed.gateway.trustedProxies.push('10.9.9.9');
  await engine.reloadText(JSON.stringify(changed));
  assert.equal((await ask(2, 'look')).generation, 2);
  await Promise.all([0, 1, 2].map((index) => ask(index, 'spin')));
  assert.equal(engine.leasesOut, 0);
  // The engine lives as long as somebody holds it.
  const { id } = engine;
  engine.close();
  assert.equal((await ask(0, 'look')).generation, 2);
  await ask(0, 'close');
  await Promise.all(threads.slice(1).map((thread) => thread.terminate()));
  // What a thread held goes after its end.
  const isThere = () => {
    try {
      Engine.attach(id).close();
      return true;
    } catch (error) {
      assert.equal(error.code, 'engine_closed');
      return false;
    }
  };
  for (let i = 0; i < 200 && isThere(); i += 1) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(isThere(), false);
});

test('a thread that ends while the engine works takes nothing down', async (t) => {
  const engine = await open(t, {}, { env: KEYS });
  for (let round = 0; round < 5; round += 1) {
    const thread = worker(t, `
      const engine = Engine.attach(workerData);
      engine.tryLease({ provider: 'openai' });
      engine.reload();
      engine.lease({ provider: 'openai' });
      parentPort.postMessage('busy');`, engine.id);
    await once(thread, 'message');
    await thread.terminate();
  }
  assert.equal(engine.generation, 1);
});

test('unknown numbers are refused', () => {
  for (const id of [0, 4_000_000_000]) assert.throws(() => Engine.attach(id), { code: 'engine_closed' });
  assert.throws(() => Engine.attach('1'), { code: 'invalid_argument' });
});
