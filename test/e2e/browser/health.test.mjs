// The view tells whether each resource works, and since when: tested when the session
// begins, by "Test All", by use, and when the network of laptop changes.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { after, before, test } from 'node:test';
import { openEditor, packages, raise, until } from './world.mjs';

const PORT = 18190;

let world;
let editor;
let service;

before(
  async () => {
    const { desktop, remote } = packages();
    world = await raise({
      extensions: [desktop, remote],
      settings: {
        'causeway.resources': [
          { name: 'orders', host: 'orders-db.corp.test', ports: [5432] },
          { name: 'web', host: 'web.corp.test', ports: [80, 443] },
          { name: 'mistyped', host: 'odrers-db.corp.test', ports: [5432] },
          { name: 'mine', host: 'localhost', ports: [PORT], as: 'mine.causeway.internal' },
          { name: 'all', host: '*.corp.test', ports: [8080] },
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
    service?.kill();
    await editor?.close();
    await world?.close();
  },
  { timeout: 300_000 },
);

const onLaptop = (...command) => execFileSync(world.info.hosts.laptop.exec, command);

/** Runs the service of "mine", which counts the bytes that it gets. */
async function start() {
  const code = `let n = 0; require('net').createServer((c) => c.on('error', () => {}).on('data', (d) => console.log(n += d.length)))
    .listen(${PORT}, '127.0.0.1', () => console.log('ready'))`;
  service = spawn(world.info.hosts.laptop.exec, [process.execPath, '-e', code], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  service.stdout.on('data', (text) => {
    said += text;
  });
  await until('the service listens', () => said.includes('ready'));
  return () => said.replace('ready', '').trim();
}

/** Returns what a screen reader says of the lines of the view. */
const spoken = () =>
  editor.page
    .locator('.pane-body .monaco-list-row[role=treeitem]')
    .evaluateAll((rows) => rows.map((row) => row.getAttribute('aria-label') ?? ''));

/** Waits until the line of a resource says what matches. */
const says = async (name, pattern) => {
  let last = [];
  await until(
    () => `${name} is ${pattern}: ${last.join(' | ')}`,
    async () => {
      last = await spoken();
      return last.some((line) => line.startsWith(`${name}, `) && pattern.test(line));
    },
  );
};

/** Returns the classes of the icon of a resource's line, which name it. */
const icon = async (name) =>
  String(
    await editor.page
      .locator('.pane-body .monaco-list-row[role=treeitem]', { hasText: name })
      .locator('.custom-view-tree-node-item-icon')
      .first()
      .getAttribute('class'),
  );

test('a name that does not resolve is not green, nor is a service that is down', { timeout: 300_000 }, async () => {
  await editor.run('Causeway: Connect');
  await editor.page.locator('.quick-input-widget', { hasText: 'resources to approve' }).waitFor({ state: 'visible' });
  await editor.page.keyboard.press('Enter');
  await until('all are approved', async () => {
    if (await editor.page.locator('.monaco-dialog-box').isVisible()) await editor.dialog(/Always/);
    return /connected \(5 resources/.test(await editor.status());
  });
  await editor.run('View: Show Causeway');
  await says('orders', /works/);
  await says('web', /works/);
  await says('mistyped', /does not resolve/);
  await says('mine', /cannot be reached/);
  await says('all', /not used or tested yet/);
  assert.match(await icon('orders'), /pass-filled/);
  assert.match(await icon('mistyped'), /codicon-warning/);
  assert.match(await icon('all'), /circle-large-outline/);
  assert.ok(!(await spoken()).some((line) => /VPN/.test(line)), 'one name alone is no VPN');
  await editor.shot('health');
});

test('Test All finds the service that is up again, and sends it nothing', { timeout: 300_000 }, async () => {
  const got = await start();
  await editor.run('Causeway: Test All');
  // The message may be gone by the time the line has changed.
  const sum = until('the sum', async () =>
    /1 of 4 tested resources does not work: mistyped/.test(await editor.notifications()),
  );
  await Promise.all([says('mine', /works/), sum]);
  assert.equal(got(), '');
  service.kill();
  await until('the service is gone', () => service.exitCode !== null || service.signalCode !== null);
  // Use tells at once.
  world.cloud(`nc -z -w 3 mine.causeway.internal ${PORT}`);
  await says('mine', /cannot be reached/);
});

test('a VPN that is off is said once, and over when it is on', { timeout: 300_000 }, async () => {
  onLaptop('ip', 'link', 'set', 'corp', 'down');
  const line = /^Is the VPN on\? [23] resources do not resolve or answer/;
  await until('one line says so', async () => (await spoken()).filter((each) => line.test(each)).length === 1);
  await says('orders', /does not resolve|cannot be reached/);
  await says('web', /does not resolve|cannot be reached/);
  await editor.shot('health-vpn-off');
  onLaptop('ip', 'link', 'set', 'corp', 'up');
  await says('orders', /works/);
  await says('web', /works/);
  await until('the line is gone', async () => !(await spoken()).some((each) => /VPN/.test(each)));
});
