// A stub of a gallery with one extension: node gallery.mjs PORT [VSIX PACKAGE.JSON]
// Without a file it answers every request with 404. It prints "ready" when it listens.
import { readFileSync } from 'node:fs';
import http from 'node:http';

const [port, vsix = '', manifestFile = ''] = process.argv.slice(2);
const base = `http://127.0.0.1:${port}`;
const cors = {
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Allow-Headers': '*',
  'Access-Control-Allow-Methods': '*',
};

/** The answer to a query, in the Marketplace's protocol. */
function query() {
  const manifest = JSON.parse(readFileSync(manifestFile, 'utf8'));
  const date = new Date(0).toISOString();
  const file = (/** @type {string} */ type, /** @type {string} */ path) => ({
    assetType: type,
    source: `${base}/${path}`,
  });
  const extension = {
    publisher: {
      publisherId: 'p',
      publisherName: manifest.publisher,
      displayName: manifest.publisher,
      flags: 'verified',
    },
    extensionId: '11111111-2222-3333-4444-555555555555',
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
        assetUri: `${base}/assets`,
        fallbackAssetUri: `${base}/assets`,
        files: [
          file('Microsoft.VisualStudio.Code.Manifest', 'manifest'),
          file('Microsoft.VisualStudio.Services.VSIXPackage', 'vsix'),
        ],
        properties: [
          { key: 'Microsoft.VisualStudio.Code.Engine', value: manifest.engines.vscode },
          { key: 'Microsoft.VisualStudio.Code.ExecutesCode', value: 'true' },
        ],
      },
    ],
  };
  const resultMetadata = [{ metadataType: 'ResultCount', metadataItems: [{ name: 'TotalCount', count: 1 }] }];
  return { results: [{ extensions: [extension], pagingToken: null, resultMetadata }] };
}

http
  .createServer((request, response) => {
    process.stdout.write(`${request.method} ${request.url}\n`);
    const answer = (/** @type {number} */ status, /** @type {string | Buffer} */ body, type = 'application/json') =>
      response.writeHead(status, { ...cors, 'Content-Type': type }).end(body);
    request.resume();
    if (request.method === 'OPTIONS') answer(200, '');
    else if (vsix === '') answer(404, '{}');
    else if (request.url?.endsWith('/extensionquery')) answer(200, JSON.stringify(query()));
    else if (/manifest/i.test(request.url ?? '')) answer(200, readFileSync(manifestFile));
    else if (/vsix/i.test(request.url ?? '')) answer(200, readFileSync(vsix), 'application/octet-stream');
    else answer(404, '{}');
  })
  .listen(Number(port), '127.0.0.1', () => process.stdout.write('ready\n'));
