// The same types through require().
import auth = require('openclaw-auth');

export function open(): auth.Engine {
  return auth.Engine.openSync({ configText: '{}' });
}
