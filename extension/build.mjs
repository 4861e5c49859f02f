// Bundles the three entry points into dist; --watch keeps doing so.
import * as esbuild from 'esbuild';

const watch = process.argv.includes('--watch');

/** @type {esbuild.BuildOptions} */
const common = {
  bundle: true,
  format: 'cjs',
  external: ['vscode'],
  minify: !watch,
  sourcemap: watch ? 'inline' : false,
  legalComments: 'none',
  logLevel: 'warning',
};

/** @type {esbuild.BuildOptions[]} */
const bundles = [
  { entryPoints: ['extension/ui/src/main.desktop.ts'], outfile: 'dist/desktop.js', platform: 'node', target: 'node20' },
  { entryPoints: ['extension/ui/src/main.web.ts'], outfile: 'dist/web.js', platform: 'browser', target: 'es2022' },
  { entryPoints: ['extension/remote/src/main.ts'], outfile: 'dist/remote.js', platform: 'node', target: 'node20' },
];

for (const bundle of bundles) {
  const options = { ...common, ...bundle };
  if (watch) await (await esbuild.context(options)).watch();
  else await esbuild.build(options);
}
