// The same classes as with require().
import api from './index.cjs';

export const {
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
} = api;
