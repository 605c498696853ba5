'use strict';

const native = require('../native.cjs');
const { call, invalid } = require('./errors.cjs');
const { DISPOSE, INSIDE } = require('./inside.cjs');

/** One generation: whoever holds it sees secrets and settings that belong together. */
class Snapshot {
  #held;

  constructor(key, held) {
    if (key !== INSIDE) throw invalid('take a snapshot with engine.snapshot()');
    this.#held = held;
  }

  get generation() {
    return this.#read('generation');
  }

  /** When it was activated, in milliseconds since 1970. */
  get activatedAt() {
    return this.#read('activatedAt');
  }

  secret(path) {
    return call(native.snapshotSecret, this.#held, path, false);
  }

  /** The secret of a reference, by its label `source:provider:id`. */
  secretRef(label) {
    return call(native.snapshotSecret, this.#held, label, true);
  }

  /** A setting that is not secret; undefined when it is not there. */
  value(path) {
    const { value } = this.#read('value', path);
    return value ?? undefined;
  }

  /** The configuration for showing, without secrets. */
  config() {
    return this.#read('config');
  }

  surfaces() {
    return this.#read('surfaces');
  }

  issues() {
    return this.#read('issues');
  }

  diagnostics() {
    return this.#read('diagnostics');
  }

  close() {
    native.snapshotClose(this.#held);
  }

  [DISPOSE]() {
    this.close();
  }

  #read(what, path) {
    return JSON.parse(call(native.snapshotRead, this.#held, what, path));
  }
}

module.exports = { Snapshot };
