// Copies the schema of a list of resources from the helper into the manifest. A
// unit test fails while the two differ.
import { readFileSync, writeFileSync } from 'node:fs';

const schema = JSON.parse(readFileSync('helper/internal/resource/schema.json', 'utf8'));
const manifest = JSON.parse(readFileSync('package.json', 'utf8'));
const { properties } = manifest.contributes.configuration;
properties['causeway.resources'] = { order: 1, scope: 'application', default: [], ...schema };
properties['causeway.workspaceResources'] = {
  order: 2,
  scope: 'window',
  default: [],
  ...schema,
  markdownDescription:
    'Private resources that this workspace asks for. They count only in the settings of a workspace that you trust. ' +
    'Causeway asks for your approval of each one.',
};
writeFileSync('package.json', `${JSON.stringify(manifest, null, 2)}\n`);
