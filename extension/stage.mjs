// Lays out the files of a package for "vsce package":
//
//   node extension/stage.mjs --kind ui|ui-test|remote --out DIR [--target TARGET] [--helper PATH]... [--companion VSIX] [--notices FILE] [--sbom FILE]
//
// ui-test is the UI extension for tests: it runs in the Node extension host of the
// workspace and has no browser entry. An entry of the test loads the desktop's entry.
// A helper goes to bin/TARGET. If there are several, each PATH is
// TARGET/causeway[.exe]. With --companion the package contains the companion, which
// the UI extension installs on the remote without a gallery. --notices has the licenses of others,
// and --sbom is the bill of materials.
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';

const root = path.resolve(import.meta.dirname, '..');
const { values } = parseArgs({
  options: {
    kind: { type: 'string' },
    target: { type: 'string', default: 'universal' },
    helper: { type: 'string', multiple: true, default: [] },
    companion: { type: 'string' },
    notices: { type: 'string' },
    sbom: { type: 'string' },
    out: { type: 'string' },
  },
});
const { kind, target, helper: helpers, companion, notices, sbom, out } = values;
if (!['ui', 'ui-test', 'remote'].includes(kind) || !out) fail('--kind ui|ui-test|remote and --out DIR are needed');
if (path.resolve(out) === root) fail('--out is the source tree');

const manifest = JSON.parse(readFileSync(path.join(root, kind === 'remote' ? 'extension/remote' : '', 'package.json')));
delete manifest.scripts;
delete manifest.allowScripts;
delete manifest.devDependencies;
if (kind === 'ui-test') {
  manifest.extensionKind = ['workspace'];
  delete manifest.browser;
} else if (target === 'web') {
  // The package contains no helper that the desktop's entry could start.
  delete manifest.main;
}

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
for (const entry of new Set([manifest.main, manifest.browser])) if (entry) take(entry);
if (kind === 'ui-test') {
  manifest.main = path.join(path.dirname(manifest.main), 'entry.js');
  take('test/e2e/browser/entry.cjs', { as: manifest.main });
}
take(kind === 'remote' ? 'extension/remote/package.nls.json' : 'package.nls.json', { as: 'package.nls.json' });
take('LICENSE');
take('CHANGELOG.md', { optional: true });
if (kind === 'remote') {
  take('extension/remote/README.md', { as: 'README.md' });
  take('extension/media/icon.png', { as: 'media/icon.png' });
} else {
  take('README.md', { optional: true });
  take('dist/panel.js');
  take('extension/media', { as: 'media' });
}
for (const helper of helpers) {
  const name = path.basename(helper);
  const dir = helpers.length > 1 || target === 'universal' ? path.basename(path.dirname(helper)) : target;
  const to = take(path.resolve(helper), { as: path.join('bin', dir.replace('alpine', 'linux'), name) });
  chmodSync(to, 0o755);
}
if (notices) take(path.resolve(notices), { as: 'NOTICES.txt' });
if (sbom) take(path.resolve(sbom), { as: 'SBOM.cdx.json' });
if (companion) take(path.resolve(companion), { as: 'companion.vsix' });
// vsce warns if there is no ignore file, and leaves VSIX files out by itself. Everything here belongs in the package.
writeFileSync(path.join(out, '.vscodeignore'), '!companion.vsix\n');
const text = JSON.stringify(manifest, null, 2).replaceAll('extension/media/', 'media/');
writeFileSync(path.join(out, 'package.json'), `${text}\n`);

function take(from, { as = from, optional = false } = {}) {
  const source = path.resolve(root, from);
  if (optional && !existsSync(source)) return undefined;
  if (!existsSync(source)) fail(`${from} is missing: run "npm run build" first`);
  const to = path.join(out, as);
  mkdirSync(path.dirname(to), { recursive: true });
  cpSync(source, to, { recursive: true });
  return to;
}

function fail(message) {
  process.stderr.write(`stage: ${message}\n`);
  process.exit(2);
}
