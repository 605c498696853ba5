import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { OpenClawAuthError } from 'openclaw-auth';

const require = createRequire(import.meta.url);
const root = dirname(require.resolve('openclaw-auth/package.json'));
const native = require(`${root}/native.cjs`);
const { call, rebuilt, start } = require(`${root}/lib/errors.cjs`);
const hooks = typeof native.testPanicSync === 'function';

// Standard error shows what a panic says; it is no part of the test.
test('a defect inside becomes an error, and the process lives', { skip: !hooks && 'built without the hooks of the tests' }, async () => {
  const isPanic = (error) => {
    assert.ok(error instanceof OpenClawAuthError);
    assert.equal(error.code, 'panic');
    assert.doesNotMatch(`${error.message}${JSON.stringify(error)}`, /canary/);
    return true;
  };
  assert.throws(() => call(native.testPanicSync), isPanic);
  assert.throws(() => call(native.testPanicOutside), isPanic);
  await assert.rejects(start(() => native.testPanicAsync()), isPanic);
});

test('foreign errors do not get out', () => {
  const error = rebuilt(new Error('whatever holds sk-canary'));
  assert.equal(error.code, 'panic');
  assert.doesNotMatch(error.message, /canary/);
});

test('nothing of the wrong kind crashes', () => {
  const arguments_ = [[], [1], ['x', 'y', 'z'], [{}, {}, {}], [1, 2, 3, 4], [null, null], [Symbol.iterator], [1, 'x'], [1, 'x', 'y'], [-1, -1, -1, '']];
  for (const [name, value] of Object.entries(native)) {
    if (name.startsWith('testPanic')) continue;
    for (const list of arguments_) {
      try {
        value(...list)?.catch?.(() => {});
      } catch (error) {
        assert.ok(rebuilt(error) instanceof OpenClawAuthError, name);
        assert.notEqual(rebuilt(error).code, 'panic', `${name}: ${error.message} ${error.code}`);
      }
    }
  }
});
