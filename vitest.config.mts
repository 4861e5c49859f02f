import path from 'node:path';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['extension/test/unit/**/*.test.ts'],
    setupFiles: ['extension/test/setup.ts'],
    alias: { vscode: path.resolve(import.meta.dirname, 'extension/test/vscode.ts') },
    testTimeout: 10_000,
  },
});
