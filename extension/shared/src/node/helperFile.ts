import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { chmod, copyFile, mkdir, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import path from 'node:path';
import { arch, platform } from 'node:process';
import { pipeline } from 'node:stream/promises';

const UNUSED_MS = 30 * 24 * 3600 * 1000;

/** The helper that CAUSEWAY_HELPER names is one under development and runs where it is. */
export function helperUnderDevelopment(env: NodeJS.ProcessEnv): string | undefined {
  return env.CAUSEWAY_HELPER || undefined;
}

/** Where a package keeps the helper for this machine, as VS Code names targets. */
export function packagedHelper(extensionDir: string): string {
  const target = `${platform}-${arch === 'arm' ? 'armhf' : arch}`;
  return path.join(extensionDir, 'bin', target, fileName());
}

/**
 * Copies the helper out of the extension's folder, so that an update of the
 * extension never meets a running file, and returns the copy's path. A copy is
 * named by its content and made at most once; those that were not used for a
 * month go.
 */
export async function installHelper(source: string, storageDir: string): Promise<string> {
  const parent = path.join(storageDir, 'helpers');
  const digest = await sha256(source).catch(() => {
    throw new Error(`this package of Causeway holds no helper for ${platform}-${arch}`);
  });
  const dir = path.join(parent, digest);
  const target = path.join(dir, fileName());
  await mkdir(dir, { recursive: true, mode: 0o700 });
  if ((await sha256(target).catch(() => '')) !== digest) {
    const part = path.join(dir, `${randomUUID()}.part`);
    try {
      await copyFile(source, part);
      await chmod(part, 0o700);
      await rename(part, target);
    } finally {
      await rm(part, { force: true });
    }
  }
  const now = new Date();
  await utimes(dir, now, now).catch(() => {});
  await prune(parent, now.getTime() - UNUSED_MS);
  return target;
}

function fileName(): string {
  return platform === 'win32' ? 'causeway.exe' : 'causeway';
}

async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}

async function prune(parent: string, before: number): Promise<void> {
  for (const name of await readdir(parent)) {
    const dir = path.join(parent, name);
    // A file in use cannot be removed on Windows: it goes another time.
    await stat(dir)
      .then(({ mtimeMs }) => (mtimeMs < before ? rm(dir, { recursive: true, force: true }) : undefined))
      .catch(() => {});
  }
}
