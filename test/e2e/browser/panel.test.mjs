// The panel with connections, DNS questions and refusals, in a real editor with real
// programs on the remote.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openEditor, packages, raise, until } from './world.mjs';

let world;
let editor;
/** The page of the panel. */
let panel;

before(
  async () => {
    const { desktop, remote } = packages();
    world = await raise({
      extensions: [desktop, remote],
      settings: {
        'causeway.resources': [
          { name: 'orders', host: 'orders-db.corp.test', ports: [5432] },
          { name: 'web', host: 'web.corp.test', ports: [80] },
          { name: 'limited', host: 'echo.corp.test', ports: [7], programs: ['python3'] },
        ],
      },
      env: ['CAUSEWAY_HELPER=%HELPER%'],
    });
    editor = await openEditor(world, { permissions: ['clipboard-read', 'clipboard-write'] });
  },
  { timeout: 300_000 },
);

after(
  async () => {
    await editor?.close();
    await world?.close();
  },
  { timeout: 300_000 },
);

/** Returns the texts of the rows in view. */
const rows = () => panel.locator('.tall > .row').allInnerTexts();
const row = (text) => panel.locator('.tall > .row', { hasText: text }).first();
const tab = (name) => panel.getByRole('tab', { name });

test('an open connection is a row, with its program, its bytes and its timeline', { timeout: 300_000 }, async () => {
  await editor.run('Causeway: Connect');
  const list = editor.page.locator('.quick-input-widget', { hasText: 'resources to approve' });
  await list.waitFor({ state: 'visible' });
  await list.locator('.monaco-button', { hasText: 'OK' }).click();
  await editor.dialog(/Once/);
  await until('the resources are there', () => world.cloud('getent hosts web.corp.test').ok);
  await editor.run('Causeway: Show Connections');
  panel = await until('the page of the panel', async () => {
    for (const frame of editor.page.frames()) if ((await frame.locator('.grid').count()) > 0) return frame;
    return undefined;
  });
  await panel.getByText('Nothing yet').waitFor();
  const { password, user, host, database } = world.info.postgres;
  const slow = world.meanwhile(
    `PGPASSWORD=${password} psql -h ${host} -U ${user} -d ${database} -Atc 'select pg_sleep(8)'`,
  );
  await row('orders').waitFor();
  const text = await row('orders').innerText();
  for (const part of [/psql/, /orders-db\.corp\.test:5432/, /open/]) assert.match(text, part);
  world.must('curl -sS -o /dev/null http://web.corp.test/bytes?n=300000');
  await until('the download is a row', async () =>
    (await rows()).some((line) => /curl[\s\S]*293 KiB[\s\S]*closed/.test(line)),
  );
  await editor.shot('panel-connections');
  await row('curl').click();
  const detail = panel.locator('aside');
  await detail.getByText('Timeline').waitFor();
  for (const step of ['name looked up', 'connected', 'first byte', 'ended']) {
    assert.match(await detail.innerText(), new RegExp(`${step}: [\\d.]+ (ms|s)`));
  }
  await detail.getByRole('button', { name: 'Copy' }).click();
  const copied = await until('the row is copied', () =>
    editor.page.evaluate(() => navigator.clipboard.readText().then((text) => text.includes('web.corp.test') && text)),
  );
  assert.equal(JSON.parse(copied).resource, 'web');
  await editor.shot('panel-detail');
  await panel.locator('.grid').press('Escape');
  await detail.waitFor({ state: 'hidden' });
  assert.ok((await slow).ok);
  await until('the query has ended', async () => /closed/.test(await row('orders').innerText()));
  assert.match(await panel.locator('#link').innerText(), /Link: (command|direct)/);
});

test('rows are filtered, sorted, paused and exported', { timeout: 300_000 }, async () => {
  const filter = panel.getByRole('searchbox');
  await filter.fill('psql orders');
  await until('only one row is left', async () => (await rows()).length === 1);
  await filter.fill('nobody');
  await panel.getByText('No row matches').waitFor();
  await filter.fill('');
  await panel.getByRole('columnheader', { name: 'Down' }).click();
  await until('the largest is first', async () => /curl/.test((await rows())[0] ?? ''));
  await panel.getByRole('button', { name: 'Pause' }).click();
  const before = await rows();
  world.must('curl -sS -o /dev/null http://web.corp.test/');
  await new Promise((resolve) => setTimeout(resolve, 1500));
  assert.deepEqual(await rows(), before);
  await panel.getByRole('columnheader', { name: 'Down' }).click(); // the smallest first
  await until('the rows are in the other order', async () => /psql/.test((await rows())[0] ?? ''));
  assert.deepEqual(new Set(await rows()), new Set(before), 'rows that are paused can be sorted');
  await panel.getByRole('button', { name: 'Resume' }).click();
  await until('the row comes', async () => (await rows()).length === before.length + 1);
  await panel.getByRole('button', { name: 'Export' }).click();
  await until('the export is a document', async () =>
    /"creator"/.test(
      (await editor.page.locator('.editor-instance .view-lines').first().innerText()).replace(/\s/g, ''),
    ),
  );
});

test('questions and refusals say who, why and what to do', { timeout: 300_000 }, async () => {
  await tab('DNS').click();
  world.cloud('dig +short +tries=1 +time=5 web.corp.test TXT');
  await until('the question is a row', async () =>
    (await rows()).some((line) => /web\.corp\.test[\s\S]*TXT/.test(line)),
  );
  await editor.shot('panel-dns');
  await tab('Refused').click();
  world.cloud('curl -sS -m 5 telnet://echo.corp.test:7 </dev/null');
  await row('echo.corp.test:7').waitFor();
  assert.match(await row('echo.corp.test:7').innerText(), /curl[\s\S]*limited/);
  await row('echo.corp.test:7').click();
  await editor.shot('panel-refused');
  const details = panel.locator('aside');
  await details.getByRole('button', { name: 'Copy' }).waitFor();
  // A resource covers it already: another one would not change that it is for python3 alone.
  assert.equal(await details.getByRole('button', { name: 'Add as Resource' }).count(), 0);
});

test('after the session the panel says why it is empty', { timeout: 300_000 }, async () => {
  await editor.run('Causeway: Disconnect');
  await panel.getByText(/disconnected/i).waitFor();
  assert.deepEqual(await rows(), []);
});
