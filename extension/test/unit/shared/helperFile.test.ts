import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { installHelper, linkHelper } from '../../../shared/src/node/helperFile';

let dir: string;
let source: string;

beforeEach(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'causeway-helper-'));
  source = path.join(dir, 'packaged');
  await writeFile(source, 'one');
});
afterEach(() => rm(dir, { recursive: true, force: true }));

describe('linkHelper', () => {
  it('keeps its folder when the helper changes, and leaves nothing else behind', async () => {
    const first = await linkHelper(source, dir);
    expect(await readFile(path.join(first, 'causeway'), 'utf8')).toBe('one');
    const other = path.join(dir, 'other');
    await writeFile(other, 'two');
    expect(await linkHelper(other, dir)).toBe(first);
    expect(await linkHelper(other, dir)).toBe(first);
    expect(await readFile(path.join(first, 'causeway'), 'utf8')).toBe('two');
    expect(await readdir(first)).toEqual(['causeway']);
    expect((await readdir(dir)).sort()).toEqual(['bin', 'other', 'packaged']);
  });
});

describe('installHelper', () => {
  it('copies the helper to a place of its content, for the user alone to run', async () => {
    const target = await installHelper(source, dir);
    expect(await readFile(target, 'utf8')).toBe('one');
    expect((await stat(target)).mode & 0o777).toBe(0o700);
    expect(path.basename(path.dirname(target))).toMatch(/^[0-9a-f]{64}$/);
    expect(await readdir(path.dirname(target))).toEqual(['causeway']);
  });

  it('leaves a running copy alone when an update comes, and copies each once', async () => {
    const first = await installHelper(source, dir);
    const before = await stat(first);
    expect(await installHelper(source, dir)).toBe(first);
    await writeFile(source, 'two');
    const second = await installHelper(source, dir);
    expect(second).not.toBe(first);
    expect(await readFile(first, 'utf8')).toBe('one');
    expect((await stat(first)).ino).toBe(before.ino);
  });

  it('replaces a copy that is not what its name says', async () => {
    const target = await installHelper(source, dir);
    await writeFile(target, 'damaged');
    await installHelper(source, dir);
    expect(await readFile(target, 'utf8')).toBe('one');
  });

  it('is made once by windows that start together', async () => {
    const targets = await Promise.all(Array.from({ length: 5 }, () => installHelper(source, dir)));
    expect(new Set(targets).size).toBe(1);
    expect(await readdir(path.dirname(targets[0] as string))).toEqual(['causeway']);
  });

  it('removes copies that nobody used for a month', async () => {
    const old = path.join(dir, 'helpers', 'ab'.repeat(32));
    await mkdir(old, { recursive: true });
    await utimes(old, new Date(0), new Date(0));
    await installHelper(source, dir);
    expect((await readdir(path.join(dir, 'helpers'))).length).toBe(1);
  });

  it('says that a package holds none for this machine', async () => {
    await expect(installHelper(path.join(dir, 'none'), dir)).rejects.toThrow('contains no helper for');
  });
});
