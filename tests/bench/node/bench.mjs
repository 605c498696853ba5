// The price of the calls of every request, beside what a program in JavaScript would do instead.
// One process, one run.

import { createRequire } from 'node:module';
import { createServer, request as httpRequest } from 'node:http';
import { once } from 'node:events';

const require = createRequire(new URL('../../../bindings/node/', import.meta.url));
const { Engine } = require('openclaw-auth');
const proxyAddr = require('proxy-addr');

const RANGES = Array.from({ length: 100 }, (_, i) => `10.${i}.0.0/16`);
const REQUIRED = ['x-forwarded-proto', 'x-forwarded-host'];
const USERS = ['nick@example.com', 'ada@example.com'];

const config = (ranges) => ({
  gateway: {
    trustedProxies: ranges,
    auth: { mode: 'trusted-proxy', trustedProxy: { userHeader: 'x-forwarded-user', requiredHeaders: REQUIRED, allowUsers: USERS } },
  },
  models: { providers: { openai: { baseUrl: 'https://api.openai.com/v1', api: 'openai-completions', apiKey: '${OPENAI_API_KEY}', models: [] } } },
});

const options = { env: { OPENAI_API_KEY: 'sk-one', OPENAI_API_KEYS: 'sk-two,sk-three' }, inheritEnv: false };
const few = Engine.openSync({ ...options, config: config(RANGES.slice(-3)) });
const engine = Engine.openSync({ ...options, config: config(RANGES) });

/** A request as node:http makes it: 12 header lines, from behind a proxy. */
async function received() {
  const server = createServer((request, response) => response.end()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  const headers = [
    ['Host', 'gateway.example.com'],
    ['User-Agent', 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36'],
    ['Accept', 'application/json'],
    ['Accept-Encoding', 'gzip, deflate, br'],
    ['Accept-Language', 'en-GB,en;q=0.9'],
    ['Cookie', 'session=0123456789abcdef0123456789abcdef'],
    ['X-Request-Id', '5f1c9d8e-7c0b-4b58-9f0f-6f4a5f0f2a11'],
    ['X-Forwarded-For', '203.0.113.7'],
    ['X-Forwarded-Proto', 'https'],
    ['X-Forwarded-Host', 'gateway.example.com'],
    ['X-Forwarded-User', 'nick@example.com'],
    ['Connection', 'keep-alive'],
  ];
  const outgoing = httpRequest({ host: '127.0.0.1', port, headers: headers.flat(), setDefaultHeaders: false }).end();
  const [request] = await once(server, 'request');
  await once(outgoing, 'response');
  server.close();
  server.closeAllConnections();
  const { rawHeaders } = request;
  if (rawHeaders.length !== 24) throw new Error('not 12 lines');
  const { IncomingMessage } = await import('node:http');
  // Each request is a new object with headers that nobody has asked for yet, as in a server.
  const socket = { remoteAddress: '10.99.0.7', localAddress: '10.0.0.1', encrypted: undefined };
  return () => {
    const fresh = new IncomingMessage(socket);
    fresh.rawHeaders = rawHeaders;
    fresh._addHeaderLines(rawHeaders, rawHeaders.length);
    return fresh;
  };
}

/** The same question by hand: client by proxy-addr, then the checks that the settings ask for. */
function byHand(ranges) {
  const trust = proxyAddr.compile(ranges);
  return (request) => {
    if (!trust(request.socket.remoteAddress, 0)) return undefined;
    const { headers } = request;
    for (const name of REQUIRED) {
      if (!headers[name]?.trim()) return undefined;
    }
    const user = headers['x-forwarded-user']?.trim();
    if (!user || !USERS.includes(user)) return undefined;
    // node joins repeated lines, and look-alikes are other names: both have to be looked for.
    let seen = 0;
    for (let i = 0; i < request.rawHeaders.length; i += 2) {
      if (request.rawHeaders[i].toLowerCase().replaceAll('_', '-') === 'x-forwarded-user') seen += 1;
    }
    if (seen !== 1) return undefined;
    return { user, clientIp: proxyAddr(request, trust) };
  };
}

const BATCHES = 400;
const PER_BATCH = 500;

/**
 * Nanoseconds for one call: the first quartile of many short batches, because other programs on the
 * machine take whole slices of time away. `prepare` makes what each call gets, outside the time.
 */
function time(prepare, call) {
  const batches = [];
  for (let batch = 0; batch < BATCHES; batch += 1) {
    const given = Array.from({ length: PER_BATCH }, prepare);
    const before = process.hrtime.bigint();
    for (let i = 0; i < PER_BATCH; i += 1) call(given[i]);
    batches.push(Number(process.hrtime.bigint() - before) / PER_BATCH);
  }
  return batches.sort((a, b) => a - b)[BATCHES / 4];
}

const make = await received();
const hand = byHand(RANGES);
const handFew = byHand(RANGES.slice(-3));
if (engine.authorize(make()).user !== 'nick@example.com') throw new Error('ours does not let it in');
if (hand(make())?.clientIp !== '203.0.113.7') throw new Error('the peer does not let it in');

const nothing = () => undefined;
const PATH = 'models.providers.openai.apiKey';
const lease = () => {
  const held = engine.tryLease({ provider: 'openai' });
  held.report({ status: 200 });
  held.close();
};

const rows = [
  ['authorize(req), 12 lines, 100 ranges', time(make, (r) => engine.authorize(r)), 2000, time(make, (r) => hand(r)), 'proxy-addr + checks in JavaScript'],
  ['authorize(req), 12 lines, 3 ranges', time(make, (r) => few.authorize(r)), 2000, time(make, (r) => handFew(r)), 'the same with 3 ranges'],
  ['secret(path)', time(nothing, () => engine.secret(PATH)), 500],
  ['lease + report', time(nothing, lease), 8000],
];
console.log(`Node ${process.version}, nanoseconds for one call`);
console.log(`${'call'.padEnd(38)}${'ours'.padStart(7)}${'at most'.padStart(9)}${'peer'.padStart(8)}${'ratio'.padStart(7)}  peer is`);
let missed = 0;
for (const [name, ours, most, peer, what = ''] of rows) {
  const ratio = peer ? (peer / ours).toFixed(1) : '';
  if (ours > most) missed += 1;
  console.log(`${name.padEnd(38)}${ours.toFixed(0).padStart(7)}${String(most).padStart(9)}${(peer?.toFixed(0) ?? '').padStart(8)}${ratio.padStart(7)}  ${what}`.trimEnd());
}
if (missed) console.log(`${missed} above what was aimed at`);
