// Open connections survive whatever happens to the editor. The test keeps a
// transaction open in a psql that runs outside the editor's terminals.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { clean, openEditor, packages, part, processes, raise, relay, soak, startGateway, until } from './world.mjs';

const resources = [
  { name: 'orders', host: 'orders-db.corp.test', ports: [5432] },
  { name: 'web', host: 'web.corp.test', ports: [80] },
];
const connected = /connected \(2 resources/;

let world;
let gateway;
let editor;
let untouched;
let token;

before(
  async () => {
    const { web, remote } = packages();
    world = await raise({ extensions: [web, remote], settings: { 'causeway.resources': resources } });
    untouched = world.hosts();
    gateway = startGateway(world);
    [, token] = await gateway.says(/pairing token: (\S+)/);
    editor = await openEditor(world);
    await pair();
    await gateway.says(/has the pairing token/);
    gateway.answer('yes');
    for (const { name } of resources) {
      await gateway.says(new RegExp(`name +${name}[\\s\\S]*always/once/no`));
      gateway.answer('always');
    }
    await editor.statusIs(connected);
    world.must(`${psql()} -c 'create table kept (what text primary key)'`);
  },
  { timeout: 300_000 },
);

after(
  async () => {
    world?.cloud(`tmux -S ${world.dir}/tmux kill-server`);
    await editor?.close();
    await gateway?.close();
    await world?.close();
  },
  { timeout: 300_000 },
);

const psql = () => {
  const { password, user, host, database } = world.info.postgres;
  return `PGPASSWORD=${password} psql -v ON_ERROR_STOP=1 -h ${host} -U ${user} -d ${database} -At`;
};

async function pair() {
  await editor.run('Causeway: Pair with a Token');
  await editor.type(token);
}

/** A transaction in a tmux on cloud, which does not belong to the editor. */
function transaction(name) {
  const tmux = `LC_ALL=C.UTF-8 tmux -S ${world.dir}/tmux -f /dev/null`;
  // tmux would take a semicolon at the end for its own.
  const type = (line) =>
    world.must(
      `${tmux} send-keys -t ${name} -l ${JSON.stringify(line.replace(/;$/, '\\;'))} && ${tmux} send-keys -t ${name} Enter`,
    );
  const shows = (what) =>
    until(`psql says ${what}`, () => world.cloud(`${tmux} capture-pane -p -t ${name}`).out.split('\n').includes(what));
  return {
    async begin() {
      world.must(`${tmux} new-session -d -x 200 -s ${name} "${psql()}"`);
      type(`begin; insert into kept values ('${name}'); select 'open';`);
      await shows('open');
      return this;
    },
    async commit() {
      type("commit; select 'done';");
      await shows('done');
      type('\\q');
      assert.equal(world.must(`${psql()} -c "select count(*) from kept where what = '${name}'"`), '1');
    },
  };
}

/** Returns the processes that serve the session at both ends. */
const helpers = () =>
  [...processes('capture'), ...processes('gateway')].filter(
    (pid) => !readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--stdio'),
  );

test('reload of the window', { timeout: 300_000 }, async () => {
  const open = await transaction('reload').begin();
  const before = helpers();
  await editor.page.reload();
  await editor.ready();
  await editor.statusIs(connected);
  assert.deepEqual(helpers(), before);
  await open.commit();
});

test('kill -9 of the extension host', { timeout: 300_000 }, async () => {
  const open = await transaction('host').begin();
  const shim = processes('capture').find((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--stdio'));
  const host = Number(part(/PPid:\s+(\d+)/, readFileSync(`/proc/${shim}/status`, 'utf8')));
  process.kill(host, 'SIGKILL');
  await editor.statusIs(/reconnecting/);
  await editor.statusIs(connected);
  await open.commit();
});

test('the browser loses its connection and finds another', { timeout: 300_000 }, async () => {
  const open = await transaction('cut').begin();
  relay(world, 'cut');
  await sleep(soak ? 30_000 : 5_000);
  relay(world, 'resume');
  await until(
    'the resource answers',
    () => world.cloud('curl -sS -m 20 -o /dev/null http://web.corp.test/', { timeout: 25_000 }).ok,
  );
  await open.commit();
});

test('the browser hears nothing for a while', { timeout: 300_000 }, async () => {
  const open = await transaction('stall').begin();
  relay(world, 'stall');
  await sleep(soak ? 120_000 : 30_000);
  relay(world, 'resume');
  await until(
    'the resource answers',
    () => world.cloud('curl -sS -m 20 -o /dev/null http://web.corp.test/', { timeout: 25_000 }).ok,
  );
  await editor.statusIs(connected);
  await open.commit();
});

test('the browser is closed and another one opened', { timeout: 300_000 }, async () => {
  const open = await transaction('browser').begin();
  await editor.close();
  editor = await openEditor(world);
  await pair(); // this origin is known by now
  await editor.statusIs(connected);
  await open.commit();
});

test('it ends when the user says so, and not before', { timeout: 300_000 }, async () => {
  assert.notEqual(world.hosts(), untouched);
  await editor.run('Causeway: Disconnect');
  await clean(world, untouched, 15_000);
});
