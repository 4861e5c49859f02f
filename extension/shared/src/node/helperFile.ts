import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { chmod, copyFile, mkdir, readdir, readlink, rename, rm, stat, symlink, utimes } from 'node:fs/promises';
import path from 'node:path';
import { arch, platform } from 'node:process';
import { pipeline } from 'node:stream/promises';

const UNUSED_MS = 30 * 24 * 3600 * 1000;

/** Returns the helper that CAUSEWAY_HELPER names: one under development, which runs from where it is. */
export function helperUnderDevelopment(env: NodeJS.ProcessEnv): string | undefined {
  return env.CAUSEWAY_HELPER || undefined;
}

/** Returns the path of the packaged helper for this machine. Its folder is named as VS Code names the target. */
export function packagedHelper(extensionDir: string): string {
  const target = `${platform}-${arch === 'arm' ? 'armhf' : arch}`;
  return path.join(extensionDir, 'bin', target, fileName());
}

/**
 * Copies the helper out of the extension's folder and returns the copy's path:
 * an update of the extension must not replace a running file. The copy's folder is
 * named by the hash of its content. Copies that nobody used for a month are removed.
 */
export async function installHelper(source: string, storageDir: string): Promise<string> {
  const parent = path.join(storageDir, 'helpers');
  const digest = await sha256(source).catch(() => {
    throw new Error(`this package of Causeway contains no helper for ${platform}-${arch}`);
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

/**
 * Makes a link to the helper in a folder that holds nothing else, and returns that folder. The folder stays the same
 * when an update brings another helper.
 */
export async function linkHelper(helper: string, storageDir: string): Promise<string> {
  const dir = path.join(storageDir, 'bin');
  const link = path.join(dir, fileName());
  if ((await readlink(link).catch(() => '')) === helper) return dir;
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const part = path.join(storageDir, `${randomUUID()}.part`);
  try {
    await symlink(helper, part);
    await rename(part, link);
  } finally {
    await rm(part, { force: true });
  }
  return dir;
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
    // Windows cannot remove a file in use; a later call removes it.
    await stat(dir)
      .then(({ mtimeMs }) => (mtimeMs < before ? rm(dir, { recursive: true, force: true }) : undefined))
      .catch(() => {});
  }
}
