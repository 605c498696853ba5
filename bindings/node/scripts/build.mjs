// Builds the compiled half for this machine and puts it beside native.cjs. Nothing is downloaded
// but what cargo wants. `--dev` is quick to build and has the hooks of the tests.

import { spawnSync } from 'node:child_process';
import { copyFileSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import lib from '../lib/platform.cjs';

const here = join(dirname(fileURLToPath(import.meta.url)), '..');
const dev = process.argv.includes('--dev');

const cargo = ['build', '--message-format=json-render-diagnostics', '--package', 'openclaw-auth-node'];
cargo.push(...(dev ? ['--features', 'test-hooks'] : ['--release']));
const built = spawnSync(process.env.CARGO ?? 'cargo', cargo, {
  cwd: here,
  maxBuffer: 1 << 28,
  stdio: ['ignore', 'pipe', 'inherit'],
});
if (built.error) throw built.error;
if (built.status !== 0) process.exit(built.status ?? 1);

const messages = String(built.stdout).split('\n').filter(Boolean).map((line) => JSON.parse(line));
const artifact = messages.findLast(({ reason, target }) => reason === 'compiler-artifact' && target.name === 'openclaw_auth_node');
const library = artifact.filenames.find((name) => /\.(?:so|dylib|dll)$/.test(name));

const addon = join(here, `openclaw-auth.${lib.platform()}.node`);
// Replaced in one step: a program may have the old one loaded.
copyFileSync(library, `${addon}.new`);
// Debug information is four fifths of the file; without `strip` it stays.
if (dev) spawnSync('strip', ['--strip-debug', `${addon}.new`], { stdio: 'ignore' });
renameSync(`${addon}.new`, addon);
console.log(addon);
