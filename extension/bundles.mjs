// How the three entry points are bundled.

/** @type {import('esbuild').BuildOptions} */
export const common = {
  bundle: true,
  format: 'cjs',
  external: ['vscode'],
  // The other form of some packages has requires that a bundler does not see.
  mainFields: ['module', 'main'],
  legalComments: 'none',
  logLevel: 'warning',
};

/** @type {import('esbuild').BuildOptions[]} */
export const bundles = [
  { entryPoints: ['extension/ui/src/main.desktop.ts'], outfile: 'dist/desktop.js', platform: 'node', target: 'node20' },
  {
    entryPoints: ['extension/ui/src/main.web.ts'],
    outfile: 'dist/web.js',
    platform: 'browser',
    target: 'es2022',
    mainFields: ['browser', 'module', 'main'],
  },
  { entryPoints: ['extension/remote/src/main.ts'], outfile: 'dist/remote.js', platform: 'node', target: 'node20' },
];
