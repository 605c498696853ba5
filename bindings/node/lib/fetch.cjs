'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { invalid } = require('./errors.cjs');

/** Most bytes of a refusal that are read to find out what it means. */
const MOST_BYTES = 65536;
/** Longest time for reading them, in milliseconds. */
const MOST_TIME = 5000;

// Headers in which client libraries put the key that they were given.
const KEY_HEADERS = ['authorization', 'x-api-key', 'x-goog-api-key', 'api-key'];

// Providers that want their keys elsewhere than in `Authorization`.
const KEY_HEADER_OF = new Map([
  ['anthropic', 'x-api-key'],
  ['google', 'x-goog-api-key'],
]);

/** Puts the credential of a lease into the headers of a request, where its provider wants it. */
function applyCredential(headers, lease) {
  for (const name of KEY_HEADERS) headers.delete(name);
  const own = lease.kind === 'api_key' ? KEY_HEADER_OF.get(lease.provider) : undefined;
  if (own) headers.set(own, lease.secret);
  else if (lease.secret) headers.set('authorization', `Bearer ${lease.secret}`);
}

/**
 * A `fetch` that sends each request with a leased credential, and sends it again with the next one
 * when the provider says that the limit of this one is reached.
 */
function createFetch(engine, options) {
  const { apply = applyCredential, fetch = globalThis.fetch, origins, rotateOn = ['rate_limit'], ...request } = options;
  const allowed = origins?.map((origin) => new URL(origin).origin);
  return async function leasedFetch(input, init) {
    const original = new Request(input, { redirect: 'manual', ...init });
    if (allowed && !allowed.includes(new URL(original.url).origin)) {
      throw invalid('the credential of this fetch is not for that address', 'origins');
    }
    const { signal } = original;
    const lease = engine.tryLease(request) ?? (await engine.lease({ ...request, signal }));
    // A body that is made while it is sent cannot be sent again.
    const again = !isStream(init?.body);
    try {
      for (;;) {
        const attempt = again ? original.clone() : original;
        apply(attempt.headers, lease);
        let response;
        try {
          response = await fetch(attempt);
        } catch (error) {
          await lease.report({ transport: signal.aborted ? 'cancelled' : transportOf(error) });
          throw error;
        }
        if (response.status < 400) {
          lease.report({ status: response.status, headers: response.headers });
          return response;
        }
        const before = lease.candidateId;
        const verdict = await lease.report({
          status: response.status,
          headers: response.headers,
          body: await head(response.clone()),
        });
        if (verdict.kind !== 'retry' || !again) return response;
        // The same credential again is no rotation but a token that was refreshed.
        if (verdict.candidateId !== before && !rotateOn.includes(verdict.cause.reason)) return response;
        // Otherwise the connection cannot be used again.
        await response.body?.cancel();
        if (verdict.delayMs > 0) await sleep(verdict.delayMs, undefined, { signal });
      }
    } finally {
      lease.close();
    }
  };
}

function isStream(body) {
  return body != null && typeof body === 'object' && (body instanceof ReadableStream || Symbol.asyncIterator in body);
}

/** The beginning of a body, as text. */
async function head(response) {
  if (!response.body) return '';
  const reader = response.body.getReader();
  const late = setTimeout(() => reader.cancel().catch(() => {}), MOST_TIME);
  const chunks = [];
  let size = 0;
  try {
    while (size < MOST_BYTES) {
      const { done, value } = await reader.read();
      if (done) break;
      chunks.push(value);
      size += value.length;
    }
  } catch {
    // What has come is enough, and nothing is as good as little.
  } finally {
    clearTimeout(late);
    reader.cancel().catch(() => {});
  }
  return Buffer.concat(chunks).subarray(0, MOST_BYTES).toString();
}

// Codes of Node and undici, from the most particular.
const TRANSPORTS = [
  [/^(?:ENOTFOUND|EAI_)/, 'dns'],
  [/TIMEOUT|^ETIMEDOUT$/, 'timeout'],
  [/CERT|^ERR_(?:TLS|SSL)|^(?:DEPTH_ZERO|UNABLE_TO)/, 'tls'],
  [/^(?:ECONNRESET|EPIPE|UND_ERR_SOCKET)/, 'reset'],
];

/** What kind of failure below HTTP an error of `fetch` is. */
function transportOf(error) {
  const code = String(error?.cause?.code ?? error?.code ?? '');
  return TRANSPORTS.find(([pattern]) => pattern.test(code))?.[1] ?? 'connect';
}

module.exports = { applyCredential, createFetch };
