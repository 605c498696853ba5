'use strict';

const { STATUS_CODES } = require('node:http');
const { setTimeout: sleep } = require('node:timers/promises');
const native = require('../native.cjs');
const { invalid } = require('./errors.cjs');

const FIXED_HEADERS = Object.fromEntries(JSON.parse(native.refusalHeaders()));

/** The headers that belong to a refusal. */
function refusalHeaders(decision) {
  const headers = { 'content-type': 'application/json', ...FIXED_HEADERS };
  if (decision.challenge) headers['www-authenticate'] = decision.challenge;
  if (decision.retryAfterMs) headers['retry-after'] = String(Math.ceil(decision.retryAfterMs / 1000));
  return headers;
}

/** Waits as long as the refusal says, unless the client is gone before; then false. */
async function served(decision, stream) {
  if (!decision.penaltyMs) return true;
  const gone = new AbortController();
  const close = () => gone.abort();
  stream.once('close', close);
  try {
    await sleep(decision.penaltyMs, undefined, { signal: gone.signal });
    return true;
  } catch {
    return false;
  } finally {
    stream.off('close', close);
  }
}

/** Answers a request of node:http that may not come in. */
async function refuse(response, decision) {
  if (!(await served(decision, response))) return;
  // Somebody before has begun another answer, which must not go on.
  if (response.headersSent) {
    response.destroy();
    return;
  }
  response.writeHead(decision.httpStatus, refusalHeaders(decision));
  response.end(decision.body);
}

/** Middleware for Express and Connect; the decision is `request.openclawAuth`. Put it first. */
function middleware(engine) {
  return function openclawAuth(request, response, next) {
    const decision = engine.authorize(request);
    if (!decision.allowed) {
      refuse(response, decision);
      return;
    }
    request.openclawAuth = decision;
    next();
  };
}

/** A listener of node:http that lets the handler see only requests that may come in. */
function guard(engine, handler) {
  const check = middleware(engine);
  return (request, response) => check(request, response, () => handler(request, response));
}

/** A listener for `upgrade`; the handler gets the decision as `request.openclawAuth`. */
function guardUpgrade(engine, handler) {
  return function openclawAuth(request, socket, head) {
    const decision = engine.authorize(request);
    if (decision.allowed) {
      request.openclawAuth = decision;
      handler(request, socket, head);
      return;
    }
    refuseUpgrade(socket, decision);
  };
}

async function refuseUpgrade(socket, decision) {
  // A client that goes away is nobody's concern.
  socket.on('error', () => socket.destroy());
  if (!(await served(decision, socket))) return;
  const { httpStatus: status, body } = decision;
  const headers = { ...refusalHeaders(decision), 'content-length': Buffer.byteLength(body), connection: 'close' };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${lines.join('')}\r\n${body}`);
}

/** A plugin for Fastify: `await app.register(fastifyAuth, { engine })`. */
async function fastifyAuth(app, { engine }) {
  app.decorateRequest('openclawAuth', null);
  app.addHook('onRequest', async (request, reply) => {
    const decision = engine.authorize(request.raw);
    if (decision.allowed) {
      request.openclawAuth = decision;
      return undefined;
    }
    if (!(await served(decision, reply.raw))) return reply.hijack();
    return reply.code(decision.httpStatus).headers(refusalHeaders(decision)).send(decision.body);
  });
}
// The hook holds for the whole application, not only for routes inside the plugin.
fastifyAuth[Symbol.for('skip-override')] = true;
fastifyAuth[Symbol.for('fastify.display-name')] = 'openclaw-auth';

/**
 * A handler of fetch style, called with `(request, decision, ...rest)`. `facts(request, ...rest)`
 * says who is at the other end: `{ remote, local? }`, or an IncomingMessage of node:http.
 */
function guardFetch(engine, handler, facts) {
  const judge = fetchJudge(engine, facts);
  return async function openclawAuth(request, ...rest) {
    const decision = judge(request, ...rest);
    return decision.allowed ? handler(request, decision, ...rest) : refused(decision);
  };
}

/** Middleware for Hono; the decision is `c.get('openclawAuth')`. `facts(c)` as for `guardFetch`. */
function honoAuth(engine, facts = nodeFacts) {
  const judge = fetchJudge(engine, (request, context) => facts(context));
  return async function openclawAuth(context, next) {
    const decision = judge(context.req.raw, context);
    if (!decision.allowed) return refused(decision);
    context.set('openclawAuth', decision);
    return next();
  };
}

/** On @hono/node-server the request of node:http is at hand, with its raw lines. */
function nodeFacts(context) {
  return context.env?.incoming;
}

function fetchJudge(engine, facts) {
  if (typeof facts !== 'function') throw invalid('say who is at the other end: a function', 'facts');
  return (request, ...rest) => {
    const known = facts(request, ...rest);
    if (Array.isArray(known?.rawHeaders)) return engine.authorize(known);
    // Such headers have merged repeated lines; a merged identity is refused by its comma.
    return engine.authorize(known ? { lines: request.headers, ...known } : null);
  };
}

async function refused(decision) {
  if (decision.penaltyMs) await sleep(decision.penaltyMs);
  const headers = refusalHeaders(decision);
  return new Response(decision.body, { status: decision.httpStatus, headers });
}

module.exports = { fastifyAuth, guard, guardFetch, guardUpgrade, honoAuth, middleware, refuse };
