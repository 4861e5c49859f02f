// The manifests with their texts, as the editor shows them.
import { readFileSync } from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '../..');
const read = (file: string) => JSON.parse(readFileSync(path.join(root, file), 'utf8'));

/** Returns the manifest in a folder, with the texts of its package.nls.json in place of their keys. */
export function readManifest(folder: string) {
  const texts: Record<string, string> = read(path.join(folder, 'package.nls.json'));
  const fill = (_: string, value: unknown) =>
    typeof value === 'string' ? value.replace(/^%(.+)%$/, (whole, key: string) => texts[key] ?? whole) : value;
  return JSON.parse(JSON.stringify(read(path.join(folder, 'package.json'))), fill);
}
