'use strict';

/** Who knows this may construct the classes. */
const INSIDE = Symbol('openclaw-auth');

/** Older releases of Node do not have the symbol; `using` there comes from compilers. */
const DISPOSE = Symbol.dispose ?? Symbol.for('Symbol.dispose');

/** Arguments as the compiled half takes them. */
function json(fields) {
  return JSON.stringify(fields) ?? 'null';
}

module.exports = { DISPOSE, INSIDE, json };
