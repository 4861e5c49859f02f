import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { readManifest } from '../manifest';

const root = path.resolve(import.meta.dirname, '../../..');
const read = (file: string) => readFileSync(path.join(root, file), 'utf8');
const { contributes } = readManifest('.');
const properties: Record<string, { default: unknown; items?: { properties: Record<string, unknown> } }> =
  contributes.configuration.properties;
const pages = ['README.md', 'SECURITY.md', 'CHANGELOG.md', ...globSync('docs/*.md', { cwd: root })].map((file) => ({
  file,
  text: read(file).replace(/\s+/g, ' '),
}));
const reference = read('docs/resources.md');

/** Everything in the pages that pattern's group matches, with the file. */
function mentions(pattern: RegExp): [string, string][] {
  return pages.flatMap(({ file, text }) =>
    [...text.matchAll(pattern)].map(([, name]): [string, string] => [file, name as string]),
  );
}

describe('the pages for users', () => {
  it('name only commands of the editor that exist', () => {
    const titles = contributes.commands.map(({ title }: { title: string }) => title);
    const named = mentions(/\*\*Causeway: ([^*]+)\*\*/g);
    expect(named.length).toBeGreaterThan(10);
    expect(named.filter(([, title]) => !titles.includes(title))).toEqual([]);
  });

  it('name only settings that exist', () => {
    const named = mentions(/[`"](causeway\.[A-Za-z]+)[`"]/g);
    expect(named.length).toBeGreaterThan(20);
    expect(named.filter(([, setting]) => !(setting in properties))).toEqual([]);
  });

  it('list every setting with its default', () => {
    const shown = [...reference.matchAll(/^\| `(causeway\.\w+)` \| (.+?) \|/gm)].map(([, setting, value]) => [
      String(setting),
      value,
    ]);
    const all = Object.entries(properties).map(([setting, { default: value }]) => [
      setting,
      setting === 'causeway.sources' ? 'all `auto`' : `\`${JSON.stringify(value)}\``,
    ]);
    expect(Object.fromEntries(shown)).toEqual(Object.fromEntries(all));
    expect(shown.length).toBe(all.length);
  });

  it('list every field of a resource', () => {
    const fields = properties['causeway.resources']?.items?.properties ?? {};
    const section = reference.split('## Fields of a resource')[1]?.split('\n## ')[0] ?? '';
    const shown = [...section.matchAll(/^\| `(\w+)` \|/gm)].map(([, field]) => String(field));
    expect(shown.sort()).toEqual(Object.keys(fields).sort());
  });
});
