// What can only be seen from the repository: sources, types, and what is published.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import api from '../../index.cjs';
import lib from '../../lib/platform.cjs';

const here = join(dirname(fileURLToPath(import.meta.url)), '../..');
const npm = (cwd, ...args) => execFileSync('npm', args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

function scratch(t) {
  const folder = mkdtempSync(join(tmpdir(), 'openclaw-auth-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

test('every function for JavaScript has a fence', () => {
  let exports = 0;
  for (const file of readdirSync(join(here, 'src'))) {
    const text = readFileSync(join(here, 'src', file), 'utf8');
    for (const [, attribute, signature] of text.matchAll(/#\[napi(.*?)\]\s+(?:#\[.*\]\s+)*([^{]*)\{/g)) {
      exports += 1;
      assert.equal(attribute, '(catch_unwind)', `${file}: ${signature}`);
      // Under another name the macro would return an error instead of throwing it.
      assert.doesNotMatch(signature, /-> (?!napi::Result<|AsyncTask<|String|u32)\w/, `${file}: ${signature}`);
    }
  }
  assert.ok(exports > 25, `${exports}`);
});

test('the versions agree', () => {
  const cargo = readFileSync(join(here, '../../Cargo.toml'), 'utf8');
  const [, version] = cargo.match(/\[workspace\.package\]\nversion = "(.*)"/);
  assert.deepEqual([api.version, JSON.parse(readFileSync(join(here, 'package-lock.json'))).version], [version, version]);
});

test('the types name every member, and no other', () => {
  const types = readFileSync(join(here, 'index.d.cts'), 'utf8');
  for (const name of ['Engine', 'Lease', 'Login', 'Snapshot']) {
    const [, body] = types.match(new RegExp(`export class ${name} \\{\n([^]*?)\n\\}`));
    const typed = [...body.matchAll(/^ {2}(?:static |get )?(\w+)(?:\(|:)/gm)].map(([, member]) => member);
    const own = (object, not) => Object.getOwnPropertyNames(object).filter((member) => !not.includes(member));
    const real = [...own(api[name].prototype, ['constructor']), ...own(api[name], ['length', 'name', 'prototype'])];
    assert.deepEqual([...new Set(typed)].sort(), [...new Set(real)].sort(), name);
  }
  const names = [...types.matchAll(/^export (?:class|const|function) (\w+)/gm)].map(([, member]) => member);
  assert.deepEqual([...new Set(names)].sort(), Object.keys(api).sort());
});

test('the package holds what the list says', () => {
  const [{ files }] = JSON.parse(npm(here, 'pack', '--dry-run', '--json'));
  const found = files.map(({ path }) => path.replace(lib.platform(), 'PLATFORM')).sort();
  const list = readFileSync(join(here, 'test/repository/files.txt'), 'utf8').trim().split('\n');
  assert.deepEqual(found, list);
  const { scripts } = JSON.parse(readFileSync(join(here, 'package.json'), 'utf8'));
  for (const name of ['preinstall', 'install', 'postinstall', 'prepare']) assert.equal(scripts[name], undefined, name);
});

test('what is published finds its platform', (t) => {
  const folder = scratch(t);
  execFileSync(process.execPath, [join(here, 'scripts/release.mjs'), '--out', join(folder, 'out')]);
  const platform = lib.platform();
  const main = JSON.parse(readFileSync(join(folder, 'out/main/package.json'), 'utf8'));
  assert.equal(main.optionalDependencies[`openclaw-auth-${platform}`], main.version);
  assert.equal(Object.keys(main.optionalDependencies).length, 6);
  assert.equal(main.devDependencies, undefined);
  // As npm would lay it out; fetching is npm's part.
  const modules = join(folder, 'project/node_modules');
  for (const [from, name] of [['main', 'openclaw-auth'], [platform, `openclaw-auth-${platform}`]]) {
    cpSync(join(folder, 'out', from), join(modules, name), { recursive: true });
  }
  const code = "const { Engine } = require('openclaw-auth'); console.log(Engine.openSync({ configText: '{}', inheritEnv: false }).generation)";
  const run = () => execFileSync(process.execPath, ['-e', code], { cwd: join(folder, 'project'), encoding: 'utf8', stdio: 'pipe' });
  assert.equal(run(), '1\n');
  rmSync(join(modules, `openclaw-auth-${platform}`), { recursive: true });
  assert.throws(run, /openclaw-auth has no compiled part for/);
});

test('the examples of both READMEs work in a clean project', async (t) => {
  const project = scratch(t);
  npm(here, 'pack', '--silent', '--pack-destination', project);
  const [tarball] = readdirSync(project);
  writeFileSync(join(project, 'package.json'), '{ "private": true, "type": "module" }');
  npm(project, 'install', '--offline', '--silent', `./${tarball}`);
  mkdirSync(join(project, 'home'));
  const config = { gateway: { auth: { mode: 'token', token: 'the-long-token' } } };
  writeFileSync(join(project, 'home/openclaw.json'), JSON.stringify(config), { mode: 0o600 });
  for (const readme of ['README.md', '../../README.md']) {
    const [, code] = readFileSync(join(here, readme), 'utf8').match(/```js\n([^]*?)```/);
    const port = await freePort();
    assert.match(code, /18789/);
    writeFileSync(join(project, 'example.mjs'), code.replace('18789', port));
    writeFileSync(join(project, 'around.mjs'), AROUND.replace('18789', port));
    const home = join(project, 'home');
    const env = { PATH: process.env.PATH, HOME: home, OPENCLAW_STATE_DIR: home, OPENAI_API_KEYS: 'sk-a,sk-b' };
    const said = execFileSync(process.execPath, ['around.mjs'], { cwd: project, env, encoding: 'utf8' });
    assert.match(said, /^200 you: Bearer sk-a\n401 \{"error":/, readme);
  }
});

// The provider and the caller stand around the example.
const AROUND = `
  import { createServer } from 'node:http';
  const provider = createServer((request, response) => response.end(request.headers.authorization)).listen(0, '127.0.0.1');
  const { fetch: real, Request } = globalThis;
  globalThis.fetch = (request) => real(\`http://127.0.0.1:\${provider.address().port}\`, { headers: request.headers });
  await import('./example.mjs');
  for (const token of ['the-long-token', 'wrong']) {
    const answer = await real('http://127.0.0.1:18789', { headers: { authorization: \`Bearer \${token}\` } });
    console.log(answer.status, await answer.text());
  }
  process.exit();`;

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return String(port);
}
