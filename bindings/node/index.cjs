'use strict';

const { Decision } = require('./lib/access.cjs');
const { Engine } = require('./lib/engine.cjs');
const { OpenClawAuthError } = require('./lib/errors.cjs');
const { applyCredential, createFetch } = require('./lib/fetch.cjs');
const { Lease, classify } = require('./lib/lease.cjs');
const { Login } = require('./lib/login.cjs');
const { fastifyAuth, guard, guardFetch, guardUpgrade, honoAuth, middleware, refuse } = require('./lib/middleware.cjs');
const { Snapshot } = require('./lib/snapshot.cjs');
const { version } = require('./package.json');

module.exports = {
  Decision,
  Engine,
  Lease,
  Login,
  OpenClawAuthError,
  Snapshot,
  applyCredential,
  classify,
  createFetch,
  fastifyAuth,
  guard,
  guardFetch,
  guardUpgrade,
  honoAuth,
  middleware,
  refuse,
  version,
};
