import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request as httpRequest } from 'node:http';
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2';
import { connect } from 'node:net';
import { test } from 'node:test';
import { serve } from '@hono/node-server';
import express from 'express';
import Fastify from 'fastify';
import { Hono } from 'hono';
import { Decision, Engine, fastifyAuth, guard, guardFetch, guardUpgrade, honoAuth, middleware, refuse } from 'openclaw-auth';
import { BEHIND_PROXY, listen, open } from './help.mjs';

const TOKEN = { gateway: { auth: { mode: 'token', token: 'the-long-token' } } };

/** A request of node:http as the parser makes it. */
function raw(...lines) {
  return { rawHeaders: lines, socket: { remoteAddress: '10.0.0.7', localAddress: '10.0.0.1' } };
}

test('a proxy names the user', async (t) => {
  const engine = await open(t, BEHIND_PROXY);
  const decision = engine.authorize(raw('Host', 'a', 'X-Forwarded-User', 'nick', 'X-Forwarded-For', '203.0.113.7'));
  assert.ok(decision instanceof Decision);
  const { allowed, method, user, clientIp, peerIp, localDirect, generation } = decision;
  assert.deepEqual(
    { allowed, method, user, clientIp, peerIp, localDirect, generation },
    { allowed: true, method: 'trusted-proxy', user: 'nick', clientIp: '203.0.113.7', peerIp: '10.0.0.7', localDirect: false, generation: 1 },
  );
  assert.equal(engine.clientIp(raw('X-Forwarded-For', '203.0.113.7')), '203.0.113.7');
  assert.equal(engine.clientIp({ remote: '198.51.100.1' }), '198.51.100.1');
  assert.equal(engine.clientIp({ remote: 'x', lines: [['X-Forwarded-For', '\u{100}']] }), undefined);
});

const REFUSED = [
  ['nobody', [], 'trusted_proxy_user_missing'],
  ['somebody else', ['X-Forwarded-User', 'eve'], 'trusted_proxy_user_not_allowed'],
  ['twice', ['X-Forwarded-User', 'nick', 'x-forwarded-user', 'eve'], 'trusted_proxy_ambiguous_header'],
  ['twice the same', ['X-Forwarded-User', 'nick', 'X-Forwarded-User', 'nick'], 'trusted_proxy_ambiguous_header'],
  ['a look-alike', ['X-Forwarded-User', 'nick', 'X_Forwarded_User', 'eve'], 'trusted_proxy_ambiguous_header'],
  ['another look-alike', ['X-Forwarded-User', 'nick', 'x.forwarded~user', 'eve'], 'trusted_proxy_ambiguous_header'],
  ['a list', ['X-Forwarded-User', 'nick, eve'], 'trusted_proxy_user_invalid'],
  ['a NUL that would shift the fields', ['X-Forwarded-User', 'eve\0X-Forwarded-User\0nick'], 'invalid_argument'],
  ['half a NUL', ['X-Forwarded-User', 'nick\0'], 'invalid_argument'],
  ['more than bytes', ['X-Forwarded-User', '\u{16e}ick'], 'invalid_argument'],
  ['a letter whose low byte is NUL', ['X-Forwarded-User', 'a\u{100}X-Forwarded-User\u{100}nick'], 'invalid_argument'],
  ['a name that is no UTF-8', ['X-Forwarded-User', 'nick', 'X-Forwarded-\xe9ser', 'a'], 'invalid_argument'],
];

test('forged, doubled and look-alike headers are refused', async (t) => {
  const engine = await open(t, BEHIND_PROXY);
  for (const [what, lines, code] of REFUSED) {
    const decision = engine.authorize(raw('Host', 'a', ...lines));
    assert.equal(decision.allowed, false, what);
    assert.equal(decision.code, code, what);
    assert.ok([400, 403].includes(decision.httpStatus), what);
    assert.equal(JSON.parse(decision.body).error.code, code, what);
  }
  assert.equal(engine.authorize(raw('X-Forwarded-User', 'nick')).allowed, true);
});

test('facts that come by other ways', async (t) => {
  const engine = await open(t, TOKEN);
  const remote = '198.51.100.9:443';
  assert.equal(engine.authorize({ remote, token: 'the-long-token' }).method, 'token');
  assert.equal(engine.authorize({ remote, password: 'x' }).code, 'token_mismatch');
  assert.equal(engine.authorize({ remote, lines: [['Authorization', 'Bearer the-long-token']] }).allowed, true);
  assert.equal(engine.authorize({ remote, lines: new Headers({ authorization: 'Bearer the-long-token' }) }).allowed, true);
  const refused = engine.authorize({ remote, token: 'wröng' });
  assert.equal(refused.httpStatus, 401);
  assert.match(refused.challenge, /invalid_token/);
  assert.equal(engine.authorize(null).allowed, false);
  assert.equal(engine.authorize(undefined).allowed, false);
  assert.equal(engine.authorize({}).allowed, false);
  engine.close();
  const closed = engine.authorize({ remote, token: 'the-long-token' });
  assert.deepEqual([closed.allowed, closed.code, closed.httpStatus], [false, 'engine_closed', 500]);
  assert.deepEqual([engine.authorize(raw()).code, engine.authorize(null).code], ['engine_closed', 'engine_closed']);
});

test('after a reload other names count, without a gap', async (t) => {
  const engine = await open(t, BEHIND_PROXY);
  const request = raw('X-Forwarded-User', 'nick', 'X-Other-User', 'nick');
  assert.equal(engine.authorize(request).generation, 1);
  const next = structuredClone(BEHIND_PROXY);
  next.gateway.auth.trustedProxy.userHeader = 'x-other-user';
  await engine.reloadText(JSON.stringify(next));
  const decision = engine.authorize(request);
  assert.deepEqual([decision.allowed, decision.generation], [true, 2]);
  assert.equal(engine.authorize(raw('X-Forwarded-User', 'nick')).code, 'trusted_proxy_user_missing');
});

test('many made-up header names do not fill the memory', async (t) => {
  const engine = await open(t, BEHIND_PROXY);
  for (let i = 0; i < 5000; i += 1) {
    assert.equal(engine.authorize(raw(`X-Made-Up-${i}`, 'a', 'X-Forwarded-User', 'nick')).allowed, true);
  }
});

/** Sends a request with exactly these lines; status, headers and body. */
async function send(url, lines, method = 'GET') {
  const { hostname, port } = new URL(url);
  const outgoing = httpRequest({ hostname, port, method, headers: ['Host', 'localhost', ...lines], setDefaultHeaders: false });
  outgoing.end();
  const [response] = await once(outgoing, 'response');
  const chunks = await response.toArray();
  return { status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks).toString() };
}

async function checkServer(url) {
  const good = await send(url, ['X-Forwarded-User', 'nick']);
  assert.deepEqual([good.status, good.body], [200, 'hello nick']);
  const doubled = await send(url, ['X-Forwarded-User', 'nick', 'X-Forwarded-User', 'nick']);
  assert.equal(doubled.status, 400);
  assert.equal(JSON.parse(doubled.body).error.code, 'trusted_proxy_ambiguous_header');
  assert.match(doubled.headers['content-type'], /^application\/json/);
  assert.equal(doubled.headers['x-content-type-options'], 'nosniff');
  assert.equal(doubled.headers['cache-control'], 'no-store');
  const nobody = await send(url, []);
  assert.equal(nobody.status, 403);
}

test('node:http', async (t) => {
  const engine = await open(t, BEHIND_PROXY);
  const handler = guard(engine, (request, response) => response.end(`hello ${request.openclawAuth.user}`));
  await checkServer(await listen(t, createServer(handler)));
});

test('node:http2, by its compatible part', async (t) => {
  const engine = await open(t, BEHIND_PROXY);
  const server = createHttp2Server(guard(engine, (request, response) => response.end(`hello ${request.openclawAuth.user}`)));
  const url = await listen(t, server);
  const client = connectHttp2(url);
  t.after(() => client.destroy());
  const ask = async (headers) => {
    const stream = client.request({ ':path': '/', ...headers });
    const [answer] = await once(stream, 'response');
    return [answer[':status'], Buffer.concat(await stream.toArray()).toString()];
  };
  // Let in only because the name of the host, which comes as :authority, is passed on.
  assert.deepEqual(await ask({ 'x-forwarded-user': 'nick' }), [200, 'hello nick']);
  assert.equal((await ask({ 'x-forwarded-user': 'eve' }))[0], 403);
  assert.equal((await ask({ 'x-forwarded-user': ['nick', 'nick'] }))[0], 400);
});

test('an answer that has begun is not made another', async (t) => {
  const url = await listen(t, (request, response) => {
    response.write('begun');
    refuse(response, { penaltyMs: 0, httpStatus: 403, body: '{}' });
  });
  await assert.rejects(fetch(url).then((answer) => answer.text()));
});

test('Express 5', async (t) => {
  const engine = await open(t, BEHIND_PROXY);
  const app = express();
  // Rewrites what Express shows, not what the decision looks at.
  app.set('trust proxy', true);
  app.use(middleware(engine));
  app.get('/', (request, response) => response.send(`hello ${request.openclawAuth.user}`));
  await checkServer(await listen(t, createServer(app)));
});

test('Fastify 5', async (t) => {
  const engine = await open(t, BEHIND_PROXY);
  const app = Fastify();
  await app.register(fastifyAuth, { engine });
  app.get('/', async (request) => `hello ${request.openclawAuth.user}`);
  await app.listen({ port: 0, host: '127.0.0.1' });
  t.after(() => app.close());
  await checkServer(`http://127.0.0.1:${app.server.address().port}`);
});

test('Hono on node:http', async (t) => {
  const engine = await open(t, BEHIND_PROXY);
  const app = new Hono();
  app.use(honoAuth(engine));
  app.get('/', (c) => c.text(`hello ${c.get('openclawAuth').user}`));
  const server = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' });
  t.after(() => server.close());
  await once(server, 'listening');
  await checkServer(`http://127.0.0.1:${server.address().port}`);
});

test('Hono without node:http needs to be told the peer', async (t) => {
  const engine = await open(t, BEHIND_PROXY);
  const app = new Hono();
  app.use(honoAuth(engine, (c) => c.env.peer && { remote: c.env.peer }));
  app.get('/', (c) => c.text(`hello ${c.get('openclawAuth').user}`));
  const headers = { 'X-Forwarded-User': 'nick' };
  assert.equal((await app.request('/', { headers }, { peer: '10.0.0.7' })).status, 200);
  assert.equal((await app.request('/', { headers }, { peer: '198.51.100.1' })).status, 403);
  assert.equal((await app.request('/', { headers }, {})).status, 400);
});

test('handlers of fetch style', async (t) => {
  const engine = await open(t, BEHIND_PROXY);
  const handler = (request, decision, remote) => new Response(`hello ${decision.user} from ${remote}`);
  const guarded = guardFetch(engine, handler, (request, remote) => ({ remote }));
  const request = (headers) => new Request('http://localhost/', { headers });
  const good = await guarded(request({ 'X-Forwarded-User': 'nick' }), '10.0.0.7');
  assert.equal(await good.text(), 'hello nick from 10.0.0.7');
  // Merged by Headers: the comma gives it away.
  const doubled = await guarded(request([['X-Forwarded-User', 'nick'], ['X-Forwarded-User', 'nick']]), '10.0.0.7');
  assert.equal(doubled.status, 400);
  assert.equal((await guarded(request({ 'X-Forwarded-User': 'nick' }), '198.51.100.1')).status, 403);
  assert.throws(() => guardFetch(engine, handler), { code: 'invalid_argument' });
});

test('upgrades', async (t) => {
  const engine = await open(t, BEHIND_PROXY);
  const server = createServer();
  server.on('upgrade', guardUpgrade(engine, (request, socket) => {
    socket.end(`HTTP/1.1 101 Switching Protocols\r\nX-Hello: ${request.openclawAuth.user}\r\n\r\n`);
  }));
  const { port } = new URL(await listen(t, server));
  const ask = async (line) => {
    const socket = connect(Number(port), '127.0.0.1');
    socket.write(`GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${line}\r\n`);
    return Buffer.concat(await socket.toArray()).toString();
  };
  assert.match(await ask('X-Forwarded-User: nick\r\n'), /^HTTP\/1.1 101 .*\r\nX-Hello: nick\r\n/);
  assert.match(await ask('X-Forwarded-User: eve\r\n'), /^HTTP\/1.1 403 Forbidden\r\n[^]*connection: close\r\n\r\n\{"error":/);
  // Another page may not open a WebSocket, though it could send a request.
  const foreign = await ask('X-Forwarded-User: nick\r\nOrigin: https://evil.example\r\n');
  assert.match(foreign, /^HTTP\/1.1 403 [^]*origin_not_allowed/);
});

test('a penalty is waited for, and not longer than the client does', async (t) => {
  const decision = { penaltyMs: 60, httpStatus: 401, body: '{}', challenge: 'Bearer realm="openclaw"', retryAfterMs: 1500 };
  const url = await listen(t, (request, response) => refuse(response, decision));
  const before = performance.now();
  const answer = await send(url, []);
  assert.ok(performance.now() - before >= 50);
  assert.deepEqual([answer.status, answer.headers['retry-after'], answer.headers['www-authenticate']], [401, '2', 'Bearer realm="openclaw"']);
  const gone = new AbortController();
  const refused = new Promise((resolve) => {
    const server = createServer((request, response) => {
      resolve(refuse(response, { ...decision, penaltyMs: 30_000 }));
      gone.abort();
    });
    listen(t, server).then((address) => fetch(address, { signal: gone.signal }).catch(() => {}));
  });
  await refused;
});

test('reasons are hidden when the settings say so', async (t) => {
  const engine = await open(t, { gateway: { ...TOKEN.gateway, http: { hideAuthReasons: true } } }).catch((error) => error);
  if (!(engine instanceof Engine)) assert.fail(JSON.stringify(engine));
  const refused = engine.authorize({ remote: '198.51.100.1', token: 'x' });
  assert.equal(refused.httpStatus, 401);
  assert.doesNotMatch(refused.body, /token/);
});
