// Lays out what is published: the package without a compiled part, and one package for each
// platform whose addon lies in `--addons` (default: beside native.cjs).
//
//   node scripts/release.mjs --out DIR [--addons DIR]

import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const here = join(dirname(fileURLToPath(import.meta.url)), '..');
const { values } = parseArgs({ options: { out: { type: 'string' }, addons: { type: 'string', default: here } } });
if (!values.out) throw new Error('usage: node scripts/release.mjs --out DIR [--addons DIR]');

/** Every platform: how it is called, what npm calls its parts, and the target of the compiler. */
const PLATFORMS = JSON.parse(readFileSync(join(here, 'scripts/platforms.json'), 'utf8'));

const manifest = JSON.parse(readFileSync(join(here, 'package.json'), 'utf8'));
const { name, version, license, repository, engines } = manifest;
const json = (value) => `${JSON.stringify(value, null, 2)}\n`;

rmSync(values.out, { recursive: true, force: true });
for (const { platform, os, cpu, libc } of PLATFORMS) {
  const addon = `${name}.${platform}.node`;
  if (!existsSync(join(values.addons, addon))) continue;
  const folder = join(values.out, platform);
  mkdirSync(folder, { recursive: true });
  cpSync(join(values.addons, addon), join(folder, addon));
  const description = `The compiled part of ${name} for ${platform}.`;
  const own = { name: `${name}-${platform}`, version, description, license, repository, engines, os: [os], cpu: [cpu], libc: libc && [libc], main: addon, files: [addon] };
  writeFileSync(join(folder, 'package.json'), json(own));
  writeFileSync(join(folder, 'README.md'), `# ${name}-${platform}\n\n${description} Install ${name}.\n`);
}

const main = join(values.out, 'main');
mkdirSync(main, { recursive: true });
for (const entry of readdirSync(here)) {
  if (/^index\.|^(?:lib|native\.cjs|README\.md)$/.test(entry)) cpSync(join(here, entry), join(main, entry), { recursive: true });
}
const { scripts, devDependencies, ...published } = manifest;
published.optionalDependencies = Object.fromEntries(PLATFORMS.map(({ platform }) => [`${name}-${platform}`, version]));
writeFileSync(join(main, 'package.json'), json(published));
