// A workbench from another site may reach a helper on this machine only if the user
// allows it. The browser tells the page no reason, only that the connection failed.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openEditor, packages, raise, startGateway, until } from './world.mjs';

// Chromium treats the workbench as a page from the Internet that was loaded over https.
const origin = 'http://workbench.test:8080';
const elsewhere = {
  args: [
    '--host-resolver-rules=MAP workbench.test 127.0.0.1',
    `--unsafely-treat-insecure-origin-as-secure=${origin}`,
    '--ip-address-space-overrides=127.0.0.1:8080=public',
  ],
};

let world;
let gateway;
let token;

before(
  async () => {
    const { web, remote } = packages();
    world = await raise({
      extensions: [web, remote],
      settings: { 'causeway.resources': [{ name: 'web', host: 'web.corp.test', ports: [80] }] },
    });
    gateway = startGateway(world, ['--origin', origin]);
    [, token] = await gateway.says(/pairing token: (\S+)/);
  },
  { timeout: 300_000 },
);

after(
  async () => {
    await gateway?.close();
    await world?.close();
  },
  { timeout: 300_000 },
);

/** The URL of the workbench by that name. */
function at() {
  const { pathname, search } = new URL(world.info.editor.url);
  return `${origin}${pathname}${search}`;
}

test('without leave the editor explains what stands in the way', { timeout: 300_000 }, async () => {
  const editor = await openEditor(world, { ...elsewhere, url: at() });
  try {
    await editor.run('Causeway: Pair with a Token');
    await editor.type(token);
    const said = await until('an explanation', async () => {
      const text = await editor.notifications();
      return /network|permission|helper/i.test(text) && text;
    });
    assert.match(said, /The browser (does not let|has not been allowed)/, said);
  } finally {
    await editor.close();
  }
});

test('with leave it connects', { timeout: 300_000 }, async () => {
  const editor = await openEditor(world, { ...elsewhere, url: at(), permissions: ['local-network-access'] });
  try {
    await editor.run('Causeway: Pair with a Token');
    await editor.type(token);
    await gateway.says(/name +web[\s\S]*always\/once\/no/);
    gateway.answer('once');
    await editor.statusIs(/connected \(1 resource/);
  } finally {
    await editor.close();
  }
});
