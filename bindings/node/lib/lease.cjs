'use strict';

const native = require('../native.cjs');
const { call, invalid, start } = require('./errors.cjs');
const { DISPOSE, INSIDE, json } = require('./inside.cjs');

const DONE = Object.freeze({ kind: 'done' });

// What says that a request failed, whatever its status.
const FAILURE = ['body', 'code', 'message', 'reason', 'transport', 'type'];

/**
 * A credential, lent for one attempt. After a verdict `retry` it is the next one. Neither printing
 * it nor JSON.stringify shows the secret.
 */
class Lease {
  #held;
  #info;
  #copies = [];

  constructor(key, held) {
    if (key !== INSIDE) throw invalid('take a lease with engine.lease()');
    this.#held = held;
  }

  /** The secret; empty for kinds that need none. */
  get secret() {
    return call(native.leaseSecret, this.#held);
  }

  /** A copy of the secret that `close` overwrites. */
  secretBuffer() {
    const copy = call(native.leaseSecretBytes, this.#held);
    this.#copies.push(copy);
    return copy;
  }

  get id() {
    return this.#read().leaseId;
  }

  get chainId() {
    return this.#read().chainId;
  }

  get attempt() {
    return this.#read().attempt;
  }

  get candidateId() {
    return this.#read().candidateId;
  }

  get profileId() {
    return this.#read().profileId ?? undefined;
  }

  get provider() {
    return this.#read().provider;
  }

  get model() {
    return this.#read().model ?? undefined;
  }

  get kind() {
    return this.#read().kind;
  }

  get source() {
    return this.#read().source;
  }

  get accountId() {
    return this.#read().meta.accountId ?? undefined;
  }

  /** Everything but the secret. */
  toJSON() {
    return this.#read();
  }

  /**
   * Says what became of the attempt. The verdict of a success comes at once; that of a failure is a
   * promise, because the store may have to be written or a token refreshed.
   */
  report(outcome, { signal } = {}) {
    const packed = json(normal(outcome));
    if (succeeded(outcome)) return this.#verdict(call(native.reportSync, this.#held, packed));
    const waiting = start(() => native.reportAsync(this.#held, packed), signal, () => {});
    return waiting.then((verdict) => this.#verdict(verdict));
  }

  reportSync(outcome) {
    return this.#verdict(call(native.reportSync, this.#held, json(normal(outcome))));
  }

  /** Gives the credential back; without a report that says nothing about it. */
  close() {
    for (const copy of this.#copies.splice(0)) copy.fill(0);
    native.leaseClose(this.#held);
  }

  [DISPOSE]() {
    this.close();
  }

  #read() {
    this.#info ??= JSON.parse(call(native.leaseInfo, this.#held));
    return this.#info;
  }

  #verdict(told) {
    if (told === '{"kind":"done"}') return DONE;
    const verdict = JSON.parse(told);
    if (verdict.kind === 'retry') this.#info = undefined;
    return verdict;
  }
}

/** What a failure means, without a lease. `at` is the time, for hints that are points in time. */
function classify(outcome, at = Date.now()) {
  return JSON.parse(call(native.classify, json(normal(outcome)), at));
}

function succeeded(outcome) {
  const { status } = outcome;
  return status >= 200 && status < 400 && FAILURE.every((key) => outcome[key] == null);
}

/** An outcome with headers as pairs and the body as text. */
function normal(outcome) {
  const { headers, body } = outcome;
  if (headers == null && (body == null || typeof body === 'string')) return outcome;
  return { ...outcome, headers: pairs(headers), body: bodyText(body) };
}

function pairs(headers) {
  if (headers == null) return undefined;
  const list = typeof headers[Symbol.iterator] === 'function' ? [...headers] : Object.entries(headers);
  return list.flatMap(([name, value]) => [value].flat().map((one) => [name, String(one)]));
}

function bodyText(body) {
  if (body == null || typeof body === 'string') return body;
  return ArrayBuffer.isView(body) ? Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString() : json(body);
}

module.exports = { Lease, classify };
