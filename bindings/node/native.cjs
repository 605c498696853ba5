'use strict';
// Finds the compiled half: one that was built here, else the package of this platform.

const fs = require('node:fs');
const path = require('node:path');
const { platform } = require('./lib/platform.cjs');

const name = platform();
const local = path.join(__dirname, `openclaw-auth.${name}.node`);

function fromPackage() {
  try {
    return require(`openclaw-auth-${name}`);
  } catch (cause) {
    throw new Error(
      `openclaw-auth has no compiled part for ${name}: install openclaw-auth-${name} (it comes ` +
        'by itself unless optional dependencies are left out), or build it from the repository ' +
        'with `npm run build`',
      { cause },
    );
  }
}

module.exports = fs.existsSync(local) ? require(local) : fromPackage();
