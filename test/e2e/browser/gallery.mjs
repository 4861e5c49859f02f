// A stub of a gallery: node gallery.mjs PORT [VSIX PACKAGE.JSON]...
// Without files it answers every request with 404. It prints "ready" when it listens.
import { readFileSync } from 'node:fs';
import http from 'node:http';

const [port, ...files] = process.argv.slice(2);
/** The extensions by name. */
const extensions = new Map();
for (let i = 0; i + 1 < files.length; i += 2) {
  const manifest = JSON.parse(readFileSync(files[i + 1], 'utf8'));
  extensions.set(manifest.name, {
    vsix: files[i],
    manifest,
    id: `11111111-2222-3333-4444-${String(i).padStart(12, '0')}`,
  });
}
const base = `http://127.0.0.1:${port}`;
const cors = {
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Allow-Headers': '*',
  'Access-Control-Allow-Methods': '*',
};

/** The types of a criterion of a query that name extensions. */
const [BY_ID, BY_NAME] = [4, 7];

/** The answer to a query, in the Marketplace's protocol. A query without names is for all extensions. */
function query(body) {
  const criteria = (JSON.parse(body).filters ?? []).flatMap((filter) => filter.criteria ?? []);
  const wanted = criteria
    .filter(({ filterType }) => filterType === BY_ID || filterType === BY_NAME)
    .map(({ value }) => String(value).toLowerCase());
  const found = [...extensions.values()].filter(
    ({ id, manifest }) =>
      wanted.length === 0 || wanted.includes(id) || wanted.includes(`${manifest.publisher}.${manifest.name}`),
  );
  const resultMetadata = [
    { metadataType: 'ResultCount', metadataItems: [{ name: 'TotalCount', count: found.length }] },
  ];
  return { results: [{ extensions: found.map(entry), pagingToken: null, resultMetadata }] };
}

/** An extension in the answer. */
function entry({ id, manifest }) {
  const date = new Date(0).toISOString();
  const file = (/** @type {string} */ type, /** @type {string} */ path) => ({
    assetType: type,
    source: `${base}/${manifest.name}/${path}`,
  });
  return {
    publisher: {
      publisherId: 'p',
      publisherName: manifest.publisher,
      displayName: manifest.publisher,
      flags: 'verified',
    },
    extensionId: id,
    extensionName: manifest.name,
    displayName: manifest.displayName,
    shortDescription: '',
    flags: 'validated, public',
    lastUpdated: date,
    publishedDate: date,
    releaseDate: date,
    deploymentType: 0,
    statistics: [],
    versions: [
      {
        version: manifest.version,
        flags: 'validated',
        lastUpdated: date,
        targetPlatform: `linux-${process.arch}`,
        assetUri: `${base}/${manifest.name}`,
        fallbackAssetUri: `${base}/${manifest.name}`,
        files: [
          file('Microsoft.VisualStudio.Code.Manifest', 'manifest'),
          file('Microsoft.VisualStudio.Services.VSIXPackage', 'vsix'),
          // The editor offers only signed extensions. The setting extensions.verifySignature is off.
          file('Microsoft.VisualStudio.Services.VsixSignature', 'signature'),
        ],
        properties: [
          { key: 'Microsoft.VisualStudio.Code.Engine', value: manifest.engines.vscode },
          { key: 'Microsoft.VisualStudio.Code.ExecutesCode', value: 'true' },
          { key: 'Microsoft.VisualStudio.Code.ExtensionPack', value: (manifest.extensionPack ?? []).join(',') },
        ],
      },
    ],
  };
}

http
  .createServer((request, response) => {
    process.stdout.write(`${request.method} ${request.url}\n`);
    const answer = (/** @type {number} */ status, /** @type {string | Buffer} */ body, type = 'application/json') =>
      response.writeHead(status, { ...cors, 'Content-Type': type }).end(body);
    const [, name = ''] = request.url?.split('/') ?? [];
    const asked = extensions.get(name);
    let body = '';
    request.on('data', (text) => {
      body += text;
    });
    request.on('end', () => {
      if (request.method === 'OPTIONS') answer(200, '');
      else if (extensions.size === 0) answer(404, '{}');
      else if (request.url?.endsWith('/extensionquery')) answer(200, JSON.stringify(query(body)));
      else if (asked && /manifest/i.test(request.url ?? '')) answer(200, JSON.stringify(asked.manifest));
      else if (asked && /vsix/i.test(request.url ?? '')) {
        answer(200, readFileSync(asked.vsix), 'application/octet-stream');
      } else answer(404, '{}');
    });
  })
  .listen(Number(port), '127.0.0.1', () => process.stdout.write('ready\n'));
