// Copies the schema of a list of resources from the helper into the manifest, its
// texts into package.nls.json. A unit test fails while the two differ.
import { readFileSync, writeFileSync } from 'node:fs';

/** The fields of a schema that users read. */
const TEXTS = ['description', 'markdownDescription', 'patternErrorMessage', 'label'];

const read = (/** @type {string} */ file) => JSON.parse(readFileSync(file, 'utf8'));
const write = (/** @type {string} */ file, /** @type {unknown} */ value) =>
  writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`);

const manifest = read('package.json');
/** @type {Record<string, string>} */
const texts = Object.fromEntries(
  Object.entries(read('package.nls.json')).filter(([key]) => !key.startsWith('resource.')),
);
const schema = externalize(read('helper/internal/resource/schema.json'), 'resource');
const { properties } = manifest.contributes.configuration;
properties['causeway.resources'] = { order: 1, scope: 'application', default: [], ...schema };
properties['causeway.workspaceResources'] = {
  order: 2,
  scope: 'window',
  default: [],
  ...schema,
  markdownDescription: '%setting.workspaceResources.markdownDescription%',
};
write('package.json', manifest);
write('package.nls.json', texts);

/**
 * Puts a key in place of each text of a schema, and the text under that key into texts.
 * @param {any} value
 * @param {string} path
 * @returns {any}
 */
function externalize(value, path) {
  if (Array.isArray(value)) return value.map((item, i) => externalize(item, `${path}.${i}`));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => {
      const key = `${path}.${name}`;
      if (!TEXTS.includes(name) || typeof item !== 'string') return [name, externalize(item, key)];
      texts[key] = item;
      return [name, `%${key}%`];
    }),
  );
}
