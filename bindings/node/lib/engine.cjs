'use strict';

const native = require('../native.cjs');
const { Access } = require('./access.cjs');
const { call, invalid, start } = require('./errors.cjs');
const { DISPOSE, INSIDE, json } = require('./inside.cjs');
const { Lease } = require('./lease.cjs');
const { Login } = require('./login.cjs');
const { Snapshot } = require('./snapshot.cjs');

const none = () => ({});
const given = (fields = {}) => fields;

/** Methods that take microseconds, or a few questions to the file system: synchronous only. */
const QUICK = {
  addRules: (rules) => ({ rules }),
  clockAdvance: (ms) => ({ ms }),
  envCandidates: (provider) => ({ provider }),
  events: none,
  exportSessions: none,
  filesChanged: none,
  importSessions: (sessions) => ({ sessions }),
  oauthProviders: none,
  removeRules: (prefix) => ({ prefix }),
  session: (session) => ({ session }),
  setSession: (session, entry) => ({ session, entry }),
};

/** Methods that may read or write files, run programs or use the network: a promise, and a twin
 * that blocks. */
const SLOW = {
  addProfile: given,
  audit: given,
  chat: given,
  clearCooldown: given,
  doctor: given,
  eligibility: given,
  externalLogin: (program, options) => ({ ...options, program }),
  flush: given,
  modelChain: given,
  models: given,
  oauthLink: (program, options) => ({ ...options, program }),
  oauthToken: (profile, options) => ({ ...options, profile }),
  oauthUnauthorized: (profile, token, options) => ({ ...options, profile, token }),
  order: given,
  preflight: given,
  profileOrder: given,
  profiles: given,
  reload: given,
  reloadText: (text, options) => ({ ...options, text }),
  removeProfile: given,
  restoreRedacted: (config, options) => ({ ...options, config }),
  setOrder: given,
  status: given,
  targets: given,
};

/** Everything that belongs to one configuration, kept current. */
class Engine {
  #holder;
  #slot;
  #access;

  constructor(key, holder) {
    if (key !== INSIDE) throw invalid('open an engine with Engine.open()');
    this.#holder = holder;
    this.#slot = native.slotOf(holder);
    this.#access = new Access(this.#slot);
  }

  static async open(options = {}) {
    const { signal, ...settings } = options;
    const packed = json(settings);
    const close = (holder) => native.close(holder);
    return new Engine(INSIDE, await start(() => native.openAsync(packed), signal, close));
  }

  static openSync(options = {}) {
    return new Engine(INSIDE, call(native.openSync, json(options)));
  }

  /** The engine that another thread of this process has opened, by its id. */
  static attach(id) {
    return new Engine(INSIDE, call(native.attach, id));
  }

  /** Examines an installation that need not be able to open. */
  static async doctor(installation = {}, options = {}) {
    const { signal, ...wanted } = options;
    const packed = [json(installation), json(wanted)];
    return JSON.parse(await start(() => native.doctorAsync(...packed), signal, () => {}));
  }

  static doctorSync(installation = {}, options = {}) {
    return JSON.parse(call(native.doctorSync, json(installation), json(options)));
  }

  /** Tells threads of this process which engine it is; 0 after `close`. */
  get id() {
    return this.#slot;
  }

  close() {
    this.#slot = 0;
    this.#access.close();
    native.close(this.#holder);
  }

  [DISPOSE]() {
    this.close();
  }

  get generation() {
    return this.#run('generation', {});
  }

  /** Whether the last reload failed, so that older secrets are in use. */
  get degraded() {
    return this.#run('isDegraded', {});
  }

  get leasesOut() {
    return this.#run('leasesOut', {});
  }

  secret(path) {
    return call(native.secret, this.#slot, path);
  }

  snapshot() {
    return new Snapshot(INSIDE, call(native.snapshot, this.#slot));
  }

  /** Judges a request of node:http, by its raw header lines; or facts, when it has no such lines. */
  authorize(request) {
    return Array.isArray(request?.rawHeaders)
      ? this.#access.request(request)
      : this.#access.facts(request ?? null);
  }

  /** The address of the client behind the trusted proxies; undefined when unknown. */
  clientIp(request) {
    const facts = Array.isArray(request.rawHeaders) ? factsOf(request) : request;
    return this.#access.clientIp(facts);
  }

  async lease(request) {
    const { signal, ...wanted } = request;
    const packed = json(wanted);
    const close = (held) => native.leaseClose(held);
    return new Lease(INSIDE, await start(() => native.leaseAsync(this.#slot, packed), signal, close));
  }

  leaseSync(request) {
    return new Lease(INSIDE, call(native.leaseSync, this.#slot, json(request), true));
  }

  /** A lease if there is one without waiting, else null: then `lease` finds out. */
  tryLease(request) {
    const held = call(native.leaseSync, this.#slot, json(request), false);
    return held === null ? null : new Lease(INSIDE, held);
  }

  async oauth(provider, options = {}) {
    const { signal, ...wanted } = options;
    const packed = json({ ...wanted, provider });
    const close = (held) => native.loginClose(held);
    return new Login(INSIDE, await start(() => native.loginBegin(this.#slot, packed), signal, close));
  }

  #run(method, fields) {
    return JSON.parse(call(native.callSync, this.#slot, method, json(fields)));
  }

  async #start(method, fields, signal) {
    const packed = json(fields);
    const slot = this.#slot;
    const answer = await start(() => native.callAsync(slot, method, packed), signal, () => {});
    return JSON.parse(answer) ?? undefined;
  }

  static {
    const define = (name, value) => {
      Object.defineProperty(value, 'name', { value: name });
      Object.defineProperty(this.prototype, name, { value, writable: true, configurable: true });
    };
    for (const [name, fields] of Object.entries(QUICK)) {
      define(name, function (...args) {
        return this.#run(name, fields(...args)) ?? undefined;
      });
    }
    for (const [name, fields] of Object.entries(SLOW)) {
      define(name, function (...args) {
        const { signal, ...rest } = fields(...args);
        return this.#start(name, rest, signal);
      });
      define(`${name}Sync`, function (...args) {
        const { signal, ...rest } = fields(...args);
        if (signal) throw invalid('a call that blocks cannot be stopped by a signal', 'signal');
        return this.#run(name, rest) ?? undefined;
      });
    }
  }
}

/** What is known of a request of node:http. */
function factsOf({ socket, rawHeaders }) {
  const lines = [];
  for (let i = 0; i < rawHeaders.length; i += 2) lines.push([rawHeaders[i], rawHeaders[i + 1]]);
  return { remote: socket.remoteAddress, local: socket.localAddress, lines };
}

module.exports = { Engine };
