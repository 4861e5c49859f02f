// VS Code in a browser: the UI extension runs in the page's worker, the test starts
// the gateway on laptop, pairs by the token and gives approvals in its terminal.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { clean, openEditor, packages, processes, raise, residentMiB, startGateway, until } from './world.mjs';

const resources = [
  { name: 'orders', host: 'orders-db.corp.test', ports: [5432] },
  { name: 'web', host: 'web.corp.test', ports: [80, 443] },
  { name: 'apps', host: '*.apps.corp.test', ports: [80] },
];
const connected = /connected \(3 resources/;

let world;
let gateway;
let editor;
let untouched;

before(
  async () => {
    const { web, remote } = packages();
    world = await raise({ extensions: [web, remote], settings: { 'causeway.resources': resources } });
    untouched = world.hosts();
    gateway = startGateway(world);
    editor = await openEditor(world);
  },
  { timeout: 300_000 },
);

after(
  async () => {
    await editor?.close();
    await gateway?.close();
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

test('pair, approve at the terminal, connect', { timeout: 300_000 }, async () => {
  const [, token] = await gateway.says(/pairing token: (\S+)/);
  await editor.run('Causeway: Pair with a Token');
  await editor.type(token);
  await gateway.says(/A page from http:\/\/127\.0\.0\.1:8080 has the pairing token/);
  gateway.answer('yes');
  await until('connecting', async () => /Causeway/.test(await editor.status()));
  if (!connected.test(await editor.status())) {
    // Pairing also connects, so the gateway asks for approvals now.
    for (const name of ['orders', 'web', 'apps']) {
      await gateway.says(new RegExp(`name +${name}[\\s\\S]*always/once/no`));
      assert.ok(!world.cloud(`getent hosts ${name}.corp.test`).ok, 'nothing is reachable before the approval');
      gateway.answer('always');
    }
  }
  await editor.statusIs(connected);
  await editor.run('View: Show Causeway');
  const rows = await until('the tree shows the resources', async () => {
    const rows = await editor.rows();
    return rows.some((row) => row.includes('orders-db.corp.test:5432')) && rows;
  });
  assert.ok(
    rows.some((row) => row.includes('apps')),
    rows.join(),
  );
  await editor.shot('connected');
});

test('unchanged clients reach what was approved by name', { timeout: 300_000 }, async () => {
  assert.equal(world.must(psql()), '42');
  const { caFile } = world.info;
  assert.equal(
    world.must(`curl -sS --http2 --cacert ${caFile} -o /dev/null -w '%{http_version}' https://web.corp.test/`),
    '2',
  );
  assert.ok(!world.cloud('curl -sS -m 5 http://git.corp.test/').ok, 'what was not approved is not reachable');
});

test('the editor announces none of our ports', { timeout: 300_000 }, async () => {
  // The editor looks for listening ports every few seconds. The proxy has listened since the start.
  await sleep(6_000);
  assert.equal((await editor.page.locator('#status\\.forwardedPorts').innerText()).trim(), '0');
});

test('256 MiB each way over the command link are exact', { timeout: 300_000 }, async () => {
  const size = 256 << 20;
  let peak = 0;
  const watch = setInterval(() => {
    for (const pid of [...processes('capture'), ...processes('gateway')]) {
      try {
        peak = Math.max(peak, residentMiB(pid));
      } catch {
        // The process has ended meanwhile.
      }
    }
  }, 100);
  try {
    const run = async (script) => {
      const { spawn } = await import('node:child_process');
      const child = spawn(world.info.hosts.cloud.exec, ['bash', '--norc', '-euc', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let out = '';
      child.stdout.on('data', (text) => {
        out += text;
      });
      await new Promise((resolve) => child.on('exit', resolve));
      return out.trim().split(/\s+/);
    };
    const started = Date.now();
    const [down] = await run(`curl -sS 'http://web.corp.test/bytes?n=${size}&seed=5' | sha256sum`);
    const middle = Date.now();
    const [want] = await run(`curl -sS 'http://web.corp.test/sha256?n=${size}&seed=5'`);
    assert.equal(down, want);
    const up = await run(
      `f=$(mktemp); head -c ${size} /dev/urandom >$f; sha256sum <$f; curl -sS -T $f http://web.corp.test/upload; rm $f`,
    );
    assert.equal(up[0], up[3]);
    console.log(
      `down ${(middle - started) / 1000} s, up and sums ${(Date.now() - middle) / 1000} s, peak ${peak.toFixed(0)} MiB`,
    );
  } finally {
    clearInterval(watch);
  }
  assert.ok(peak < 96, `a helper used ${peak} MiB`);
});

test('disconnect leaves nothing, and Connect works again at once', { timeout: 300_000 }, async () => {
  await editor.run('Causeway: Disconnect');
  await clean(world, untouched, 15_000);
  await editor.statusIs(/disconnected/);
  await connect();
});

test('kill -9 of the capture', { timeout: 300_000 }, async () => {
  for (const pid of processes('capture')) process.kill(pid, 'SIGKILL');
  await clean(world, untouched);
  await editor.statusIs(/disconnected|error|failed|ended/i);
  await connect();
});

test('kill -9 of the gateway', { timeout: 300_000 }, async () => {
  for (const pid of processes('gateway')) process.kill(pid, 'SIGKILL');
  await clean(world, untouched);
  await editor.statusIs(/disconnected|error|failed|ended/i); // up to a second later
  await gateway.close();
  gateway = startGateway(world);
  await gateway.says(/pairing token/);
  await connect();
});

test('a workspace that asks gets nothing until the user says so', { timeout: 300_000 }, async () => {
  const file = path.join(world.info.editor.workspace, '.vscode/settings.json');
  world.must(`mkdir -p ${path.dirname(file)}`);
  writeFileSync(
    file,
    JSON.stringify({ 'causeway.workspaceResources': [{ name: 'sneaky', host: 'git.corp.test', ports: [22] }] }),
  );
  await gateway.says(/The workspace settings ask[\s\S]*name +sneaky[\s\S]*always\/once\/no/);
  assert.ok(!world.hosts().includes('git.corp.test'));
  gateway.answer('no');
  await editor.run('View: Show Causeway');
  await until('the tree shows the refusal', async () => (await editor.rows()).some((row) => row.includes('sneaky')));
  assert.ok(!world.hosts().includes('git.corp.test'));
});

test('the settings file on the remote proposes, no more', { timeout: 300_000 }, async () => {
  const file = path.join(world.info.editor.userDataDir, 'User/settings.json');
  const settings = JSON.parse(readFileSync(file, 'utf8'));
  const more = [
    ...resources,
    { name: 'planted', host: 'echo.corp.test', ports: [7] },
    { host: 'web.corp.test', ports: [0] },
    { hots: 'x' },
  ];
  writeFileSync(file, JSON.stringify({ ...settings, 'causeway.resources': more }));
  // The editor reads the file when it starts.
  await editor.page.reload();
  await editor.ready();
  await gateway.says(/name +planted[\s\S]*always\/once\/no/);
  await until('the valid resources are there', () => world.cloud(psql()).ok);
  assert.ok(!world.hosts().includes('echo.corp.test'));
  await editor.run('View: Show Causeway');
  await until('the tree has the mistake', async () =>
    (await editor.rows()).some((row) => /resources\[4\].*port/.test(row)),
  );
  gateway.answer('no');
  writeFileSync(file, JSON.stringify(settings));
});

test('the WebSocket refuses other pages', { timeout: 300_000 }, async () => {
  const { spawnSync } = await import('node:child_process');
  const ask = (...headers) =>
    spawnSync(
      world.info.hosts.laptop.exec,
      [
        'curl',
        '-sS',
        '-m',
        '5',
        '-o',
        '/dev/null',
        '-w',
        '%{http_code}',
        '-H',
        'Connection: Upgrade',
        '-H',
        'Upgrade: websocket',
        '-H',
        'Sec-WebSocket-Version: 13',
        '-H',
        'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
        ...headers.flatMap((header) => ['-H', header]),
        'http://127.0.0.1:7741/',
      ],
      { encoding: 'utf8' },
    ).stdout;
  assert.equal(ask('Origin: http://127.0.0.1:8080', 'Host: evil.example:7741'), '403', 'a rebound name');
  assert.equal(ask(), '403', 'no origin');
  assert.equal(ask('Origin: null'), '403', 'an opaque origin');
});
