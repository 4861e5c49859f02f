// Nothing that happens to the editor ends an open connection: a transaction in a
// psql that no terminal of the editor's runs survives it all.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { clean, openEditor, packages, processes, raise, relay, soak, startGateway, until } from './world.mjs';

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

before(async () => {
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
}, { timeout: 300_000 });

after(async () => {
  await editor?.close();
  await gateway?.close();
  await world?.close();
}, { timeout: 60_000 });

const psql = () => {
  const { password, user, host, database } = world.info.postgres;
  return `PGPASSWORD=${password} psql -v ON_ERROR_STOP=1 -h ${host} -U ${user} -d ${database} -At`;
};

async function pair() {
  await editor.run('Causeway: Pair with Local Helper');
  await editor.type(token);
}

/** An open transaction in a process that nothing of the editor's owns. */
function transaction(name) {
  const fifo = `/tmp/tx-${name}`;
  world.must(`rm -f ${fifo} ${fifo}.out; mkfifo ${fifo}
    setsid bash -c 'exec 3<>${fifo}; ${psql()} <&3' >${fifo}.out 2>&1 </dev/null &
    printf "begin;\\ninsert into kept values ('"'${name}'"');\\nselect 'open';\\n" >${fifo}
    for i in $(seq 50); do grep -q open ${fifo}.out && exit; sleep 0.1; done; cat ${fifo}.out; exit 1`);
  return {
    commit() {
      world.must(`printf "commit;\\nselect 'done';\\n\\\\\\\\q\\n" >${fifo}
        for i in $(seq 100); do grep -q done ${fifo}.out && exit; sleep 0.1; done; cat ${fifo}.out; exit 1`);
      assert.equal(world.must(`${psql()} -c "select count(*) from kept where what = '${name}'"`), '1');
    },
  };
}

/** Processes that serve the session at both ends. */
const helpers = () => [...processes('capture'), ...processes('gateway')].filter((pid) => !readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--stdio'));

test('reload of the window', { timeout: 120_000 }, async () => {
  const open = transaction('reload');
  const before = helpers();
  await editor.page.reload();
  await editor.ready();
  await editor.statusIs(connected);
  assert.deepEqual(helpers(), before);
  open.commit();
});

test('kill -9 of the extension host', { timeout: 120_000 }, async () => {
  const open = transaction('host');
  const front = processes('capture').find((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--stdio'));
  const host = Number(/PPid:\s+(\d+)/.exec(readFileSync(`/proc/${front}/status`, 'utf8'))[1]);
  process.kill(host, 'SIGKILL');
  await editor.statusIs(/reconnecting/);
  await editor.statusIs(connected, 60_000);
  open.commit();
});

test('the browser loses its connection and finds another', { timeout: 240_000 }, async () => {
  const open = transaction('cut');
  relay(world, 'cut');
  await sleep(soak ? 30_000 : 5_000);
  relay(world, 'resume');
  await until('the resource answers', 90_000, () => world.cloud('curl -sS -m 20 -o /dev/null http://web.corp.test/', { timeout: 25_000 }).ok);
  open.commit();
});

test('the browser hears nothing for a while', { timeout: 240_000 }, async () => {
  const open = transaction('stall');
  relay(world, 'stall');
  await sleep(soak ? 120_000 : 30_000);
  relay(world, 'resume');
  await until('the resource answers', 90_000, () => world.cloud('curl -sS -m 20 -o /dev/null http://web.corp.test/', { timeout: 25_000 }).ok);
  await editor.statusIs(connected);
  open.commit();
});

test('the browser is closed and another one opened', { timeout: 180_000 }, async () => {
  const open = transaction('browser');
  await editor.close();
  editor = await openEditor(world);
  await pair(); // this origin is known by now
  await editor.statusIs(connected, 60_000);
  open.commit();
});

test('it ends when the user says so, and not before', { timeout: 60_000 }, async () => {
  assert.notEqual(world.hosts(), untouched);
  await editor.run('Causeway: Disconnect');
  await clean(world, untouched);
});
