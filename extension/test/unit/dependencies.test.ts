import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

const root = path.resolve(import.meta.dirname, '../../..');
const read = (file: string) => JSON.parse(readFileSync(path.join(root, file), 'utf8'));
const packages: Record<string, { version?: string; license?: string }> = read('package-lock.json').packages;

/** Licenses that put no condition on software that a package has built or is part of. */
const LICENSES =
  /^(0BSD|Apache-2\.0|Artistic-2\.0|BSD-[23]-Clause|BlueOak-1\.0\.0|ISC|MIT|MIT OR Apache-2\.0|MPL-2\.0)$/;

describe('the packages of the extensions', () => {
  it('have licenses that we know', () => {
    const others = Object.entries(packages)
      .filter(([, { license }]) => !LICENSES.test(license ?? ''))
      .map(([name]) => name.replace('node_modules/', ''))
      // vsce depends on it to sign packages, which we do not do. It has a license of Microsoft's own.
      .filter((name) => !name.startsWith('@vscode/vsce-sign'));
    expect(others).toEqual([]);
  });

  it('describe the browser driver that the browser tests run', () => {
    const tests: typeof packages = read('test/e2e/package-lock.json').packages;
    const name = 'node_modules/playwright-core';
    expect(packages[name]?.version).toBe(tests[name]?.version);
  });
});
