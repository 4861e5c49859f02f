// The desktop's entry of the UI extension, in VS Code's Node extension host. The
// extension starts its helper on laptop, and approvals are dialogs.
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  busy,
  clean,
  forwarding,
  forwards,
  moved,
  openEditor,
  packages,
  part,
  planter,
  processes,
  raise,
  soak,
  until,
} from './world.mjs';

/** Time from a command in the page to its effect, in ms: the extension host, which both extensions share, may be busy. */
const commandTime = 15_000;
const connected = /connected \(2 resources/;

let world;
let editor;
let untouched;

before(
  async () => {
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
    // The editor answers like this if it cannot forward the port.
    forwarding(world, 'answer', { url: 'http://127.0.0.1:PORT' });
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

const psql = () => {
  const { password, user, host, database } = world.info.postgres;
  return `PGPASSWORD=${password} psql -h ${host} -U ${user} -d ${database} -Atc 'select 6*7'`;
};

async function connect() {
  await editor.run('Causeway: Connect');
  await editor.statusIs(connected);
  assert.equal(world.must(psql()), '42');
}

/** The helpers in the background, which outlive the extension host. */
const background = () =>
  [...processes('capture'), ...processes('gateway')].filter((pid) =>
    readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--background'),
  );

/** The shim that an extension has started for a role. */
function shim(role) {
  const pid = processes(role).find((each) => !background().includes(each));
  if (pid === undefined) throw new Error(`no extension has started a shim of the ${role}`);
  return pid;
}

/** The extension host, which runs both extensions. */
const host = () => Number(part(/PPid:\s+(\d+)/, readFileSync(`/proc/${shim('capture')}/status`, 'utf8')));

const link = () => world.status('laptop')[0]?.sessions[0]?.status?.link?.kind;

/** Returns the log of the UI extension. */
const log = () =>
  globSync('logs/**/Causeway.log', { cwd: world.info.editor.userDataDir })
    .map((file) => readFileSync(path.join(world.info.editor.userDataDir, file), 'utf8'))
    .join('');

/** Waits for the page: with both extensions in one host it hears of each frame and may be far behind. */
async function caughtUp() {
  await until('no flow is left', () => world.status('laptop')[0].sessions[0].status.flows === 0);
  await editor.statusIs(/2 resources, 0 flows/);
}

const download = (size) => `curl -sS 'http://web.corp.test/bytes?n=${size}&seed=5' | sha256sum | cut -c1-64`;
const upload = `f=$(mktemp); head -c ${128 << 20} /dev/urandom >$f; sha256sum <$f; curl -sS -T $f http://web.corp.test/upload; rm $f`;
const sum = (size) => world.must(`curl -sS 'http://web.corp.test/sha256?n=${size}&seed=5'`);

test('approve what was picked from the list, in one modal dialog, and connect', { timeout: 300_000 }, async () => {
  const list = editor.page.locator('.quick-input-widget', { hasText: 'resources to approve' });
  await editor.run('Causeway: Connect');
  await list.waitFor({ state: 'visible' });
  await editor.shot('approve-list');
  await editor.page.keyboard.press('Escape');
  await editor.statusIs(/waiting for approval/);
  assert.match(await editor.shown(), /2 to approve/);
  await editor.run('Causeway: Review Approvals');
  await list.waitFor({ state: 'visible' });
  await editor.page.keyboard.press('Enter');
  const box = editor.page.locator('.monaco-dialog-box');
  await box.waitFor({ state: 'visible' });
  await editor.shot('approve-dialog');
  assert.ok(!world.cloud('getent hosts orders-db.corp.test').ok, 'the list alone approves nothing');
  const text = await editor.dialog(/Always/);
  assert.match(text, /orders-db\.corp\.test:5432/);
  assert.match(text, /web\.corp\.test:80,443/);
  await editor.statusIs(connected);
  await editor.run('View: Show Causeway');
  await until('the tree shows the resources', async () =>
    (await editor.rows()).some((row) => row.includes('orders-db.corp.test:5432')),
  );
  await until('the log of the editor has what the gateway says', () => /\] gateway: /.test(log()));
  await editor.shot('desktop-connected');
});

test('unchanged clients reach what was approved by name', { timeout: 300_000 }, async () => {
  assert.equal(world.must(psql()), '42');
  const { password, user, host, database } = world.info.postgres;
  const out = world.must(`PGPASSWORD=${password} pgbench -h ${host} -U ${user} -c 8 -T 30 -n -S ${database} 2>&1`, {
    timeout: 60_000,
  });
  assert.match(out, /number of failed transactions: 0/);
  assert.equal(
    world.must(
      `curl -sS --http2 --cacert ${world.info.caFile} -o /dev/null -w '%{http_version}' https://web.corp.test/`,
    ),
    '2',
  );
  const size = 32 << 20;
  const sums = world.must(
    `curl -sS 'http://web.corp.test/bytes?n=${size}&seed=5' | sha256sum; curl -sS 'http://web.corp.test/sha256?n=${size}&seed=5'`,
    { timeout: 60_000 },
  );
  const [down, , want] = sums.split(/\s+/);
  assert.equal(down, want);
  await caughtUp();
});

test('without a port that is forwarded the command link carries, and the log says why', {
  timeout: 300_000,
}, async () => {
  for (const [url, why] of /** @type {[string, RegExp][]} */ ([
    ['http://127.0.0.1:PORT', /no direct link: .*connection refused/],
    [
      'https://name-PORT.app.example/',
      /no direct link: .*https:\/\/name-\d+\.app\.example\/, which is not a port of this machine/,
    ],
    ['http://127.0.0.1:8080', /no direct link: .*attach direct link/], // the editor's own, where no capture answers
  ])) {
    forwarding(world, 'answer', { url });
    const before = log().length;
    process.kill(shim('gateway'), 'SIGKILL'); // the next one asks again
    await until(`the log has ${why}`, () => why.test(log().slice(before)));
    await editor.statusIs(connected);
    assert.equal(link(), 'command');
  }
  const size = 16 << 20;
  const before = moved(host());
  assert.equal(world.must(download(size)), sum(size));
  assert.ok(moved(host()) - before > 2 * size, 'what JavaScript carries is seen');
});

test('where a port is forwarded, data goes direct and past JavaScript', { timeout: 300_000 }, async () => {
  forwarding(world, 'answer', { url: '' });
  process.kill(shim('gateway'), 'SIGKILL');
  await until('it goes direct', () => link() === 'direct');
  const size = 128 << 20;
  const want = sum(size);
  const relayed = () => Object.values(forwards(world).forwards).reduce((all, { up, down }) => all + up + down, 0);
  const shims = host();
  const before = { moved: moved(shims), busy: busy(shims), relayed: relayed() };
  const helpers = () => background().reduce((all, pid) => all + busy(pid), 0);
  const worked = helpers();
  let answered = 0;
  let done = false;
  const load = Promise.all([world.meanwhile(download(size)), world.meanwhile(upload)]).finally(() => {
    done = true;
  });
  // oxlint-disable-next-line typescript/no-unnecessary-condition -- the transfers set it
  while (!done) {
    await editor.proxy(5_000); // or fails
    answered++;
  }
  const [down, up] = await load;
  assert.equal(down.out, want);
  assert.match(up.out, /^([0-9a-f]{64})\s.*\1$/s);
  assert.ok(relayed() - before.relayed > 2 * size, `${relayed() - before.relayed} bytes went by the port`);
  const carried = moved(shims) - before.moved;
  const share = (busy(shims) - before.busy) / (helpers() - worked);
  console.log(
    `${(carried / 1e6).toFixed(1)} MB by JavaScript beside ${(2 * size) / 1e6}, ${answered} answers, ${share.toFixed(2)} of the helpers' time`,
  );
  assert.ok(carried < size / 50, `JavaScript carried ${carried} bytes`);
  assert.ok(answered > 0);
});

test('from direct to command and back, over and over, while bytes flow', { timeout: 300_000 }, async () => {
  const size = 24 << 20;
  const want = sum(size);
  let over = false;
  let moves = 0;
  const repeat = async (script, check) => {
    while (!over) {
      const { ok, out } = await world.meanwhile(script);
      assert.ok(ok && check(out), out);
      moves++;
    }
  };
  const load = Promise.all([
    repeat(download(size).replace('curl', 'curl --limit-rate 12M'), (out) => out === want),
    repeat(upload.replaceAll(String(128 << 20), String(size)).replace('curl', 'curl --limit-rate 12M'), (out) =>
      /^([0-9a-f]{64})\s.*\1$/s.test(out),
    ),
  ]);
  load.catch(() => {});
  const began = Date.now();
  try {
    for (let change = 0; change < (soak ? 20 : 10); change++) {
      forwarding(world, 'cut');
      await until('it goes by the command link', () => link() === 'command');
      await sleep(Math.random() * 300);
      forwarding(world, 'resume');
      await until('it goes direct again', () => link() === 'direct');
    }
  } finally {
    over = true;
  }
  await load;
  await caughtUp();
  console.log(`${moves} transfers of ${size >> 20} MiB in ${(Date.now() - began) / 1000} s`);
  assert.ok(moves >= 4);
  await editor.statusIs(connected);
});

test('disconnect leaves nothing, and Connect asks nothing again', { timeout: 300_000 }, async () => {
  const { asked } = forwards(world);
  await editor.run('Causeway: Disconnect');
  await clean(world, untouched, commandTime);
  await until('the gateway has ended', () => processes('gateway').length === 0);
  await connect();
  await until('it goes direct', () => link() === 'direct');
  assert.equal(forwards(world).asked, asked, 'the port that is forwarded serves the next session too');
});

for (const role of ['capture', 'gateway']) {
  test(`kill -9 of the ${role}`, { timeout: 300_000 }, async () => {
    for (const pid of processes(role)) process.kill(pid, 'SIGKILL');
    await clean(world, untouched);
    await until('the gateway has ended', () => processes('gateway').length === 0);
    await editor.statusIs(/disconnected|error|failed|ended/i);
    await connect();
  });
}

test('kill -9 of the extension host', { timeout: 300_000 }, async () => {
  const before = background();
  assert.equal(before.length, 2);
  process.kill(host(), 'SIGKILL');
  await until('its helpers are let go', () => processes('gateway').length === 1 && processes('capture').length === 1);
  await editor.statusIs(connected);
  assert.deepEqual(background(), before);
  assert.equal(world.must(psql()), '42');
});

test('reload of the window', { timeout: 300_000 }, async () => {
  const before = background();
  await editor.page.reload();
  await editor.ready();
  await editor.statusIs(connected);
  assert.deepEqual(background(), before);
  assert.equal(world.must(psql()), '42');
});

test('closing it all leaves nothing behind', { timeout: 300_000 }, async () => {
  await until('it goes direct', () => link() === 'direct');
  assert.equal(Object.keys(forwards(world).forwards).length, 1, 'all sessions and hosts had one port forwarded');
  await editor.run('Causeway: Disconnect');
  await clean(world, untouched, commandTime);
  await until('the gateway has ended', () => processes('gateway').length === 0);
});

// This test is the last one: the planted resources stay in the settings, and each Connect asks for them.
test('an extension on the remote that writes the settings, and would answer, gains nothing', {
  timeout: 300_000,
}, async () => {
  const settings = path.join(world.info.editor.userDataDir, 'User/settings.json');
  await connect();
  const proxy = await editor.proxy();
  await editor.run('Planter: Plant');
  await until('it has done its worst', () => existsSync(path.join(world.info.editor.workspace, 'planted.txt')));
  assert.match(readFileSync(settings, 'utf8'), /planted/);
  assert.ok(!world.hosts().includes('echo.corp.test'));
  // It is not a resource, so the proxy looks the name up on cloud and finds nothing.
  const script = `curl -sS -m 5 -o /dev/null -w '%{http_code}' -x http://${proxy} http://echo.corp.test:14/`;
  assert.equal(world.must(script), '502');
  // The extension has answered the list. Only the dialog approves.
  await editor.page.locator('.monaco-dialog-box').waitFor({ state: 'visible' });
  // A user who is typing presses Enter: that approves nothing.
  const box = editor.page.locator('.monaco-dialog-box');
  assert.match(await box.innerText(), /planted/);
  await editor.page.keyboard.press('Enter');
  await box.waitFor({ state: 'hidden' });
  await editor.statusIs(/connected/);
  assert.ok(!world.hosts().includes('echo.corp.test'));
});
