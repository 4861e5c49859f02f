// The desktop's entry of the UI extension, in the Node host that VS Code has
// here: its helper is started by it, on laptop, and approvals are dialogs.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { clean, openEditor, packages, planter, processes, raise, until } from './world.mjs';

const connected = /connected \(2 resources/;

let world;
let editor;
let untouched;

before(async () => {
  const { desktop, remote } = packages();
  world = await raise({
    extensions: [desktop, remote, planter()],
    settings: {
      'causeway.resources': [
        { name: 'orders', host: 'orders-db.corp.test', ports: [5432] },
        { name: 'web', host: 'web.corp.test', ports: [80, 443] },
      ],
    },
    env: ['CAUSEWAY_HELPER=%HELPER%'],
  });
  untouched = world.hosts();
  editor = await openEditor(world, { permissions: ['clipboard-read', 'clipboard-write'] });
}, { timeout: 300_000 });

after(async () => {
  await editor?.close();
  await world?.close();
}, { timeout: 60_000 });

const psql = () => {
  const { password, user, host, database } = world.info.postgres;
  return `PGPASSWORD=${password} psql -h ${host} -U ${user} -d ${database} -Atc 'select 6*7'`;
};

async function connect() {
  await editor.run('Causeway: Connect');
  await editor.statusIs(connected);
  assert.equal(world.must(psql()), '42');
}

test('approve in modal dialogs, connect', { timeout: 120_000 }, async () => {
  await editor.run('Causeway: Connect');
  await editor.dialog(/^Later$/);
  await editor.dialog(/^Later$/);
  await editor.statusIs(/waiting for approval/);
  await editor.run('Causeway: Review Approvals');
  for (const name of ['orders', 'web']) {
    assert.ok(!world.cloud(`getent hosts ${name}-db.corp.test`).ok, 'nothing is reachable before the approval');
    const text = await editor.dialog(/Always/);
    assert.match(text, new RegExp(name));
    assert.match(text, /corp\.test/);
  }
  await editor.statusIs(connected);
  await editor.run('View: Show Causeway');
  await until('the tree shows the resources', 15_000, async () =>
    (await editor.rows()).some((row) => row.includes('orders-db.corp.test:5432')));
  await editor.shot('desktop-connected');
});

test('unchanged clients reach what was approved by name', { timeout: 120_000 }, async () => {
  assert.equal(world.must(psql()), '42');
  const { password, user, host, database } = world.info.postgres;
  const out = world.must(`PGPASSWORD=${password} pgbench -h ${host} -U ${user} -c 8 -T 30 -n -S ${database} 2>&1`, { timeout: 60_000 });
  assert.match(out, /number of failed transactions: 0/);
  assert.equal(world.must(`curl -sS --http2 --cacert ${world.info.caFile} -o /dev/null -w '%{http_version}' https://web.corp.test/`), '2');
  const size = 32 << 20;
  const sums = world.must(`curl -sS 'http://web.corp.test/bytes?n=${size}&seed=5' | sha256sum; curl -sS 'http://web.corp.test/sha256?n=${size}&seed=5'`, { timeout: 60_000 });
  const [down, , want] = sums.split(/\s+/);
  assert.equal(down, want);
  await editor.statusIs(/2 resources, 0 flows/);
});

test('disconnect leaves nothing, and Connect asks nothing again', { timeout: 60_000 }, async () => {
  await editor.run('Causeway: Disconnect');
  await clean(world, untouched);
  await until('the gateway has ended', 5_000, () => processes('gateway').length === 0);
  await connect();
});

for (const role of ['capture', 'gateway']) {
  test(`kill -9 of the ${role}`, { timeout: 90_000 }, async () => {
    for (const pid of processes(role)) process.kill(pid, 'SIGKILL');
    await clean(world, untouched);
    await until('the gateway has ended', 5_000, () => processes('gateway').length === 0);
    await editor.statusIs(/disconnected|error|failed|ended/i);
    await connect();
  });
}

/** The helpers in the background, which outlive their hosts. */
const background = () =>
  [...processes('capture'), ...processes('gateway')].filter((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--background'));

test('kill -9 of the extension host', { timeout: 120_000 }, async () => {
  const before = background();
  assert.equal(before.length, 2);
  const [front] = processes('capture').filter((pid) => !before.includes(pid));
  process.kill(Number(/PPid:\s+(\d+)/.exec(readFileSync(`/proc/${front}/status`, 'utf8'))[1]), 'SIGKILL');
  await until('its helpers are let go', 5_000, () => processes('gateway').length === 1 && processes('capture').length === 1);
  await editor.statusIs(connected, 60_000);
  assert.deepEqual(background(), before);
  assert.equal(world.must(psql()), '42');
});

test('reload of the window', { timeout: 120_000 }, async () => {
  const before = background();
  await editor.page.reload();
  await editor.ready();
  await editor.statusIs(connected);
  assert.deepEqual(background(), before);
  assert.equal(world.must(psql()), '42');
});

test('closing it all leaves nothing behind', { timeout: 60_000 }, async () => {
  await editor.run('Causeway: Disconnect');
  await clean(world, untouched);
  await until('the gateway has ended', 5_000, () => processes('gateway').length === 0);
});

// The last: what it planted stays in the settings, and is asked for with every Connect.
test('an extension on the remote that writes the settings, and would answer, gains nothing', { timeout: 90_000 }, async () => {
  const settings = path.join(world.info.editor.userDataDir, 'User/settings.json');
  await connect();
  const proxy = await editor.proxy();
  await editor.run('Planter: Plant');
  await until('it has done its worst', 30_000, () => existsSync(path.join(world.info.editor.workspace, 'planted.txt')));
  assert.match(readFileSync(settings, 'utf8'), /planted/);
  assert.ok(!world.hosts().includes('echo.corp.test'));
  // No resource to the capture, so cloud looks for it by itself and finds nothing.
  const script = `curl -sS -m 5 -o /dev/null -w '%{http_code}' -x http://${proxy} http://echo.corp.test:14/`;
  assert.equal(world.must(script), '502');
  // Enter, pressed by a user who was typing, approves nothing.
  const box = editor.page.locator('.monaco-dialog-box');
  assert.match(await box.innerText(), /planted/);
  await editor.page.keyboard.press('Enter');
  await box.waitFor({ state: 'hidden' });
  await editor.statusIs(/connected/);
  assert.ok(!world.hosts().includes('echo.corp.test'));
});
