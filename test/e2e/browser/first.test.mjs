// First contact: a user who has read nothing installs the UI extension from a gallery, in
// a workspace that names a private database. The clock runs from "install" to the rows of
// a query, and the test counts clicks.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { atGallery, openEditor, packages, raise, root, startGallery, until } from './world.mjs';

const MOST_MS = 60_000;
const MOST_CLICKS = 6;

let world;
let stub;
let editor;

before(
  async () => {
    const { desktop, remote } = packages();
    world = await raise({
      extensions: [],
      settings: { 'extensions.verifySignature': false },
      env: ['CAUSEWAY_HELPER=%HELPER%', atGallery],
    });
    const { workspace } = world.info.editor;
    const { user, host, database } = world.info.postgres;
    writeFileSync(path.join(workspace, '.env'), `DATABASE_URL=postgresql://${user}:secret@${host}/${database}\n`);
    writeFileSync(
      path.join(workspace, 'docker-compose.yml'),
      `services:\n  shop:\n    build: .\n    environment:\n      PGHOST: ${host}\n`,
    );
    stub = await startGallery(world, [
      desktop,
      path.join(root, 'dist/stage/ui-test/package.json'),
      remote,
      path.join(root, 'extension/remote/package.json'),
    ]);
    editor = await openEditor(world, { ready: '.monaco-workbench .part.statusbar' });
  },
  { timeout: 300_000 },
);

after(
  async () => {
    await editor?.close();
    stub?.close();
    await world?.close();
  },
  { timeout: 300_000 },
);

test('from "install" to the rows of a query', { timeout: 300_000 }, async () => {
  const { page } = editor;
  let clicks = 0;
  const click = async (locator) => {
    await locator.first().waitFor({ state: 'visible', timeout: 60_000 });
    await locator.first().click();
    clicks++;
  };
  const { password, user, host, database } = world.info.postgres;
  const psql = `PGPASSWORD=${password} psql -h ${host} -U ${user} -d ${database} -Atc 'select 6*7'`;
  assert.ok(!world.cloud(psql).ok, 'the remote does not reach the database yet');

  await page.keyboard.press('Control+Shift+X');
  const search = page.locator('.extensions-viewlet .monaco-editor').first();
  await search.click();
  await page.keyboard.type('causeway');
  const row = page.locator('.extensions-list .monaco-list-row', { hasText: /Causeway(?! Companion)/ });
  await row.first().waitFor({ state: 'visible', timeout: 60_000 });
  await editor.shot('first-install');
  const began = Date.now();
  await click(row.first().locator('.extension-action.install').first());
  const box = page.locator('.monaco-dialog-box');
  const toast = page.locator('.notification-list-item', { hasText: `This workspace uses ${host}` });
  await until('an answer to the installation', async () => (await box.isVisible()) || (await toast.isVisible()));
  if (await box.isVisible()) await click(box.locator('.monaco-button', { hasText: /Trust|Install/ }));
  await toast.waitFor({ state: 'visible', timeout: 60_000 });
  await editor.shot('first-offer');
  await click(toast.locator('.monaco-button', { hasText: 'Choose' }));
  await page.locator('.quick-input-list .monaco-list-row', { hasText: host }).first().waitFor({ state: 'visible' });
  await editor.shot('first-hosts');
  await click(page.locator('.quick-input-widget .monaco-button', { hasText: 'OK' }));
  await click(page.locator('.quick-input-list .monaco-list-row', { hasText: 'Add to my resources and connect' }));
  await box.waitFor({ state: 'visible', timeout: 60_000 });
  await editor.shot('first-approval');
  await click(box.locator('.monaco-button', { hasText: 'Always' }));
  const rows = await until('the query has rows', () => {
    const { ok, out } = world.cloud(psql);
    return ok && out;
  });
  const took = Date.now() - began;
  await editor.shot('first-connected');
  console.log(`from "install" to the rows of a query: ${took} ms, ${clicks} clicks`);
  assert.equal(rows, '42');
  assert.ok(clicks <= MOST_CLICKS, `${clicks} clicks`);
  assert.ok(took <= MOST_MS, `${took} ms`);
});
