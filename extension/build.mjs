// Bundles the three entry points into dist; --watch bundles them again after each change.
import * as esbuild from 'esbuild';
import { bundles, common } from './bundles.mjs';

const watch = process.argv.includes('--watch');

for (const bundle of bundles) {
  /** @type {esbuild.BuildOptions} */
  const options = { ...common, minify: !watch, sourcemap: watch ? 'inline' : false, ...bundle };
  if (watch) await (await esbuild.context(options)).watch();
  else await esbuild.build(options);
}
