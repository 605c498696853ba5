'use strict';

const native = require('../native.cjs');
const { call, invalid, start } = require('./errors.cjs');
const { DISPOSE, INSIDE } = require('./inside.cjs');

/** A sign-in at a provider that is under way. */
class Login {
  #held;
  #warnings = [];

  constructor(key, held) {
    if (key !== INSIDE) throw invalid('start a sign-in with engine.oauth()');
    this.#held = held;
  }

  /** The address that a person opens in a browser. */
  get url() {
    return this.#read().url;
  }

  get state() {
    return this.#read().state;
  }

  get redirectUri() {
    return this.#read().redirectUri;
  }

  get provider() {
    return this.#read().provider;
  }

  /** Name of the provider for people. */
  get label() {
    return this.#read().label;
  }

  /** The addresses that are listened on; empty when only pasting is possible. */
  get addresses() {
    return this.#read().addresses;
  }

  /** Whether the person's browser is probably on another machine. */
  get isRemote() {
    return this.#read().isRemote;
  }

  get remainingMs() {
    return this.#read().remainingMs;
  }

  get hasEnded() {
    return this.#read().hasEnded;
  }

  /** What a person should know so far. */
  get warnings() {
    this.#read();
    return [...this.#warnings];
  }

  /** Waits for the browser; the address that it brings is for `complete`, or undefined. */
  async listen({ timeoutMs = this.remainingMs, signal } = {}) {
    const stop = () => native.loginStop(this.#held);
    signal?.addEventListener('abort', stop, { once: true });
    try {
      return (await start(() => native.loginListen(this.#held, timeoutMs), signal, () => {})) ?? undefined;
    } finally {
      signal?.removeEventListener('abort', stop);
    }
  }

  /** Exchanges the code in an address or pasted text, and stores the profile. */
  async complete(address, { signal } = {}) {
    return JSON.parse(await start(() => native.loginComplete(this.#held, address), signal, () => {}));
  }

  /** Waits for the browser and completes. */
  async finish(options = {}) {
    const address = await this.listen(options);
    if (address === undefined) return undefined;
    return this.complete(address, { signal: options.signal });
  }

  /** The token request, for programs that send it themselves. It holds the code. */
  request(address) {
    return JSON.parse(call(native.loginRequest, this.#held, address));
  }

  /** The answer to that request. */
  async accept(status, body, { signal } = {}) {
    return JSON.parse(await start(() => native.loginAccept(this.#held, status, body), signal, () => {}));
  }

  close() {
    native.loginClose(this.#held);
  }

  [DISPOSE]() {
    this.close();
  }

  #read() {
    const info = JSON.parse(call(native.loginInfo, this.#held));
    this.#warnings.push(...info.warnings);
    return info;
  }
}

module.exports = { Login };
