import { builtinModules } from 'node:module';
import * as esbuild from 'esbuild';
import { describe, expect, it } from 'vitest';
import { bundles, common } from '../../bundles.mjs';

describe('the bundles', () => {
  it.each(bundles)('of $outfile require nothing that is not there', async (bundle) => {
    const { outputFiles } = await esbuild.build({ ...common, ...bundle, minify: false, write: false });
    const text = outputFiles[0]?.text ?? '';
    const required = [...text.matchAll(/\brequire\d*\(["']([^"']+)["']\)/g)].map(([, name]) => String(name));
    const known = ['vscode', ...(bundle.platform === 'node' ? builtinModules : [])];
    // The page of the panel has no editor to require.
    expect(required.includes('vscode')).toBe(bundle.outfile !== 'dist/panel.js');
    expect([...new Set(required)].filter((name) => !known.includes(name.replace('node:', '')))).toEqual([]);
  });
});
