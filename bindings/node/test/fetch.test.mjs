import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { createFetch } from 'openclaw-auth';
import { KEYS, listen, open } from './help.mjs';

/** A provider that limits some keys. Notes which keys it has seen and what came with them. */
async function provider(t, { limited = [], answer }) {
  const seen = [];
  const server = createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray()).toString();
    const key = request.headers['x-api-key'] ?? request.headers.authorization?.replace(/^Bearer /, '');
    seen.push({ key, body, headers: request.headers });
    if (limited.includes(key)) {
      response.writeHead(429, { 'content-type': 'application/json', 'retry-after': '20' });
      response.end(JSON.stringify({ error: { type: 'rate_limit_error', message: 'slow down' } }));
      return;
    }
    await answer(request, response, body);
  });
  return { url: await listen(t, server), seen, keys: () => seen.map(({ key }) => key) };
}

const say = (request, response) => response.end('fine');

test('goes on to the next key when one is limited, with the same body', async (t) => {
  const engine = await open(t, {}, { env: KEYS });
  const upstream = await provider(t, { limited: ['sk-one', 'sk-two'], answer: say });
  const fetch = createFetch(engine, { provider: 'openai' });
  const response = await fetch(upstream.url, { method: 'POST', body: 'a question', headers: { authorization: 'Bearer placeholder' } });
  assert.deepEqual([response.status, await response.text()], [200, 'fine']);
  assert.deepEqual(upstream.keys(), ['sk-one', 'sk-two', 'sk-three']);
  assert.deepEqual(new Set(upstream.seen.map(({ body }) => body)), new Set(['a question']));
  // What is limited is left out from now on.
  await (await fetch(new Request(upstream.url, { method: 'POST', body: 'again' }))).text();
  assert.deepEqual(upstream.keys().slice(3), ['sk-three']);
  assert.equal(engine.leasesOut, 0);
});

test('gives the last refusal back when every key is limited', async (t) => {
  const engine = await open(t, {}, { env: KEYS });
  const upstream = await provider(t, { limited: ['sk-one', 'sk-two', 'sk-three'] });
  const fetch = createFetch(engine, { provider: 'openai' });
  const response = await fetch(upstream.url);
  assert.equal(response.status, 429);
  assert.match(await response.text(), /slow down/);
  await assert.rejects(fetch(upstream.url), { code: 'all_unavailable' });
});

test('rotates for nothing but rate limits', async (t) => {
  for (const status of [400, 401, 403, 500, 503]) {
    const engine = await open(t, {}, { env: KEYS });
    const upstream = await provider(t, { answer: (request, response) => response.writeHead(status).end('no') });
    const response = await createFetch(engine, { provider: 'openai' })(upstream.url);
    assert.deepEqual([response.status, await response.text(), upstream.seen.length], [status, 'no', 1]);
    assert.equal(engine.leasesOut, 0);
  }
});

test('a body that is a stream is sent once', async (t) => {
  const engine = await open(t, {}, { env: KEYS });
  const upstream = await provider(t, { limited: ['sk-one'], answer: say });
  const fetch = createFetch(engine, { provider: 'openai' });
  const body = new Blob(['once']).stream();
  const response = await fetch(upstream.url, { method: 'POST', body, duplex: 'half' });
  assert.deepEqual([response.status, upstream.keys()], [429, ['sk-one']]);
});

test('answers are streamed', async (t) => {
  const engine = await open(t, {}, { env: KEYS });
  let proceed;
  const seen = new Promise((resolve) => {
    proceed = resolve;
  });
  const upstream = await provider(t, {
    answer: async (request, response) => {
      response.write('first');
      await seen;
      response.end('second');
    },
  });
  const response = await createFetch(engine, { provider: 'openai' })(upstream.url);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  assert.equal((await reader.read()).value, 'first');
  proceed();
  assert.equal((await reader.read()).value, 'second');
});

test('the credential goes only where it may', async (t) => {
  const engine = await open(t, {}, { env: KEYS });
  const other = await provider(t, { answer: say });
  const upstream = await provider(t, { answer: (request, response) => response.writeHead(307, { location: other.url }).end() });
  const fetch = createFetch(engine, { provider: 'openai', origins: [upstream.url] });
  assert.equal((await fetch(upstream.url)).status, 307);
  await assert.rejects(fetch(other.url), { code: 'invalid_argument' });
  assert.deepEqual(other.seen, []);
});

test('a signal ends the request and gives the key back', async (t) => {
  const engine = await open(t, {}, { env: KEYS });
  const upstream = await provider(t, { answer: () => {} });
  const fetch = createFetch(engine, { provider: 'openai' });
  await assert.rejects(fetch(upstream.url, { signal: AbortSignal.timeout(50) }), { name: 'TimeoutError' });
  assert.equal(engine.leasesOut, 0);
  // A caller who gives up says nothing about the key.
  assert.equal(engine.tryLease({ provider: 'openai' }).secret, 'sk-one');
});

test('failures of the network are reported', async (t) => {
  const engine = await open(t, {}, { env: KEYS });
  const server = createServer();
  const url = await listen(t, server);
  server.close();
  await once(server, 'close');
  const fetch = createFetch(engine, { provider: 'openai' });
  await assert.rejects(fetch(url), { name: 'TypeError' });
  assert.equal(engine.leasesOut, 0);
});

test('the client library of OpenAI', async (t) => {
  const engine = await open(t, {}, { env: KEYS });
  const chunk = (content) => `data: ${JSON.stringify({ id: '1', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta: { content }, finish_reason: null }] })}\n\n`;
  const upstream = await provider(t, {
    limited: ['sk-one'],
    answer: (request, response, body) => {
      if (JSON.parse(body).stream) {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.end(`${chunk('Hello')}${chunk(' there')}data: [DONE]\n\n`);
        return;
      }
      response.writeHead(200, { 'content-type': 'application/json' });
      const message = { role: 'assistant', content: 'Hello' };
      response.end(JSON.stringify({ id: '1', object: 'chat.completion', created: 1, model: 'm', choices: [{ index: 0, message, finish_reason: 'stop' }] }));
    },
  });
  const client = new OpenAI({ apiKey: 'unused', baseURL: `${upstream.url}/v1`, fetch: createFetch(engine, { provider: 'openai' }), maxRetries: 0 });
  const messages = [{ role: 'user', content: 'Hi' }];
  const answer = await client.chat.completions.create({ model: 'm', messages });
  assert.equal(answer.choices[0].message.content, 'Hello');
  assert.deepEqual(upstream.keys(), ['sk-one', 'sk-two']);
  let text = '';
  for await (const part of await client.chat.completions.create({ model: 'm', messages, stream: true })) text += part.choices[0].delta.content;
  assert.equal(text, 'Hello there');
});

test('the client library of Anthropic', async (t) => {
  const engine = await open(t, {}, { env: { ANTHROPIC_API_KEYS: 'sk-one,sk-two' } });
  const events = [
    { type: 'message_start', message: { id: '1', type: 'message', role: 'assistant', model: 'm', content: [], stop_reason: null, stop_sequence: null, usage: { input_tokens: 1, output_tokens: 1 } } },
    { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
    { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Hello' } },
    { type: 'content_block_stop', index: 0 },
    { type: 'message_delta', delta: { stop_reason: 'end_turn', stop_sequence: null }, usage: { output_tokens: 2 } },
    { type: 'message_stop' },
  ];
  const upstream = await provider(t, {
    limited: ['sk-one'],
    answer: (request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end(events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join(''));
    },
  });
  const client = new Anthropic({ apiKey: 'unused', baseURL: upstream.url, fetch: createFetch(engine, { provider: 'anthropic' }), maxRetries: 0 });
  const stream = client.messages.stream({ model: 'm', max_tokens: 5, messages: [{ role: 'user', content: 'Hi' }] });
  assert.equal(await stream.finalText(), 'Hello');
  assert.deepEqual(upstream.keys(), ['sk-one', 'sk-two']);
  assert.equal(upstream.seen[1].headers['x-api-key'], 'sk-two');
});

test('another way to put the credential, and another fetch', async (t) => {
  const engine = await open(t, {}, { env: KEYS });
  const sent = [];
  const fetch = createFetch(engine, {
    provider: 'openai',
    apply: (headers, lease) => headers.set('x-mine', lease.secret),
    fetch: async (request) => {
      sent.push(request.headers.get('x-mine'));
      return new Response('fine');
    },
  });
  await fetch('https://example.com/');
  assert.deepEqual(sent, ['sk-one']);
});
