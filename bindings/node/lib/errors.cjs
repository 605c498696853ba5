'use strict';

/** A failure with a stable code. Never holds a secret. */
class OpenClawAuthError extends Error {
  /** @param {{code: string, message: string}} told what the core says about the failure */
  constructor(told, options) {
    super(told.message, options);
    this.code = told.code;
    this.class = told.class ?? 'internal';
    this.hint = told.hint ?? undefined;
    this.retryable = told.retryable ?? false;
    this.retryAfterMs = told.retryAfterMs ?? undefined;
    this.details = told.details ?? {};
  }

  toJSON() {
    const { code, class: group, message, hint, retryable, retryAfterMs, details } = this;
    return { code, class: group, message, hint, retryable, retryAfterMs, details };
  }
}
Object.defineProperty(OpenClawAuthError.prototype, 'name', {
  value: 'OpenClawAuthError',
  writable: true,
  configurable: true,
});

const ARGUMENT = /^(?:InvalidArg|\w+Expected)$/;

/** Makes an error of what the compiled half threw. */
function rebuilt(error) {
  if (error instanceof OpenClawAuthError) return error;
  const text = String(error?.message);
  if (text.startsWith('{"code":')) return new OpenClawAuthError(JSON.parse(text));
  if (ARGUMENT.test(error?.code)) return invalid('an argument has the wrong type');
  // The text of a panic may hold anything.
  return new OpenClawAuthError({
    code: 'panic',
    message: 'a defect inside the library was caught',
  });
}

/** Runs a call of the compiled half. */
function call(native, ...args) {
  try {
    return native(...args);
  } catch (error) {
    throw rebuilt(error);
  }
}

function invalid(message, argument) {
  const details = argument === undefined ? {} : { argument };
  return new OpenClawAuthError({ code: 'invalid_argument', message, details });
}

/**
 * Starts a call that gives a promise. When the signal fires first, the promise is rejected with its
 * reason, and what the call brings later goes to `late`.
 */
async function start(begin, signal, late) {
  signal?.throwIfAborted();
  const running = (async () => begin())().catch((error) => {
    throw rebuilt(error);
  });
  if (!signal) return running;
  let stop;
  const stopped = new Promise((_, reject) => {
    stop = () => {
      reject(signal.reason);
      running.then(late, () => {});
    };
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([running, stopped]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

module.exports = { OpenClawAuthError, call, invalid, rebuilt, start };
