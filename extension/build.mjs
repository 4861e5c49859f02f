// Bundles the entry points into dist; --watch bundles them again after each change.
// NAME.meta.json lists the files in NAME.js, whose licenses scripts/notices collects.
import { writeFileSync } from 'node:fs';
import * as esbuild from 'esbuild';
import { bundles, common } from './bundles.mjs';

const watch = process.argv.includes('--watch');

for (const bundle of bundles) {
  /** @type {esbuild.BuildOptions} */
  const options = { ...common, minify: !watch, sourcemap: watch ? 'inline' : false, ...bundle };
  if (watch) await (await esbuild.context(options)).watch();
  else {
    const { metafile } = await esbuild.build({ ...options, metafile: true });
    writeFileSync(`${bundle.outfile}`.replace(/js$/, 'meta.json'), JSON.stringify(metafile));
  }
}
