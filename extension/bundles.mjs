// How the entry points are bundled: three of extensions, and the page of the panel.

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
  {
    entryPoints: ['extension/panel/src/main.ts'],
    outfile: 'dist/panel.js',
    platform: 'browser',
    target: 'es2022',
    format: 'iife',
  },
  { entryPoints: ['extension/remote/src/main.ts'], outfile: 'dist/remote.js', platform: 'node', target: 'node20' },
];
