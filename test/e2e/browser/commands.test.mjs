// A connected user: each command, mistakes in the settings, a second window, and
// clients of every kind.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openEditor, packages, raise, startGateway, until } from './world.mjs';

const resources = [
  { name: 'web', host: 'web.corp.test', ports: [80] },
  { name: 'registry', host: 'npm.corp.test', ports: [4873] },
  { name: 'git', host: 'git.corp.test', ports: [22] },
  { name: 'echo', host: 'echo.corp.test', ports: [8, 10, 14, 99] },
  { name: 'datagrams', host: 'echo.corp.test', ports: [7], protocols: ['udp'] },
  { name: 'dns', host: 'dns.corp.test', ports: [53], protocols: ['udp'] },
  { name: 'address', host: '10.77.0.12', ports: [80] },
  { name: 'unreachable', host: 'unreachable.corp.test', ports: [80] },
  { name: 'silent', host: 'blackhole.corp.test', ports: [80] },
  { name: 'rebound', host: 'rebind.corp.test', ports: [80] },
  { name: 'nowhere', host: 'no-such-name.corp.test', ports: [80] },
];

let world;
let gateway;
let editor;
let proxy;

before(
  async () => {
    const { web, remote } = packages();
    world = await raise({
      extensions: [web, remote],
      settings: {
        'causeway.resources': resources,
        'causeway.setProxyEnvironment': true,
        'terminal.integrated.gpuAcceleration': 'off',
      },
    });
    const approved = path.join(world.dir, 'approved.json');
    writeFileSync(approved, JSON.stringify(resources));
    gateway = startGateway(world, ['--origin', 'http://127.0.0.1:8080', '--resources', approved]);
    const [, token] = await gateway.says(/pairing token: (\S+)/);
    editor = await openEditor(world, { permissions: ['clipboard-read', 'clipboard-write'] });
    await editor.run('Causeway: Pair with a Token');
    await editor.type(token);
    await editor.statusIs(/connected \(\d+ resources/);
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

const probe = (...args) =>
  world.must(`${process.execPath} ${path.join(import.meta.dirname, 'probes.mjs')} ${args.join(' ')}`);

test('Copy Proxy Address', { timeout: 300_000 }, async () => {
  proxy = await editor.proxy();
  assert.match(world.must(`curl -sS -o /dev/null -w '%{http_code}' -x http://${proxy} http://web.corp.test/`), /^200$/);
});

test('unchanged clients of every kind', { timeout: 300_000 }, async (t) => {
  const { npm, git } = world.info;
  await t.test('npm', () => {
    const out = world.must(
      `cd $(mktemp -d) && npm install --no-audit --no-fund --registry ${npm.url} ${npm.package} 2>&1 && ls node_modules/${npm.package}`,
      { timeout: 60_000 },
    );
    assert.match(out, /package\.json/);
  });
  await t.test('git over ssh', () => {
    const out = world.must(
      `cd $(mktemp -d) && GIT_SSH_COMMAND='ssh -F ${git.sshConfig}' git clone -q ${git.url} x && git -C x rev-parse HEAD`,
    );
    assert.ok(out.includes(git.head), out);
  });
  await t.test('a WebSocket', () => assert.equal(probe('websocket', 'ws://web.corp.test/ws'), 'hello, hello'));
  await t.test('the client ends first', () => {
    assert.match(world.must('head -c 3000000 /dev/zero | nc -N echo.corp.test 10'), /^3000000 /);
  });
  await t.test('the server ends first', () => {
    const token = Date.now();
    assert.match(world.must(`(echo ${token}; head -c 100000 /dev/zero) | nc -N echo.corp.test 8`), /^bye/);
    return until('the server has read on', () =>
      world.must(`curl -sS http://web.corp.test/halfclosed?token=${token}`).startsWith('100000 '),
    );
  });
  await t.test('a datagram and a look-up through SOCKS5', () => {
    assert.equal(probe('datagram', proxy, 'echo.corp.test', 7, 'ping'), 'ping');
    assert.equal(probe('lookup', proxy, 'dns.corp.test', 'web.corp.test'), '10.77.0.12');
  });
});

test('a new terminal has the proxy, and what is no resource goes where it went', { timeout: 300_000 }, async () => {
  const file = path.join(world.info.editor.workspace, 'terminal.txt');
  const shown = () => {
    try {
      return readFileSync(file, 'utf8');
    } catch {
      return '';
    }
  };
  await editor.run('Terminal: Create New Terminal');
  await editor.page.locator('.terminal-wrapper.active .xterm-helper-textarea').waitFor({ state: 'attached' });
  await until('the shell is there', async () =>
    /[$#]\s*$/.test(
      await editor.page
        .locator('.terminal-wrapper.active .xterm-rows')
        .innerText({ timeout: 1_000 })
        .catch(() => ''),
    ),
  );
  await editor.page.keyboard.type(
    `(env; causeway version; curl -sS ${world.info.public.url} && echo; curl -sS -o /dev/null -w 'web %{http_code}' http://web.corp.test/; echo END) >${file} 2>&1\n`,
  );
  await until('the terminal has answered', () => shown().includes('END'));
  assert.match(shown(), new RegExp(`^http_proxy=http://${proxy}`, 'm'));
  assert.match(shown(), /^https_proxy=/m);
  assert.match(shown(), /web 200/);
  assert.match(shown(), /^causeway \S+ linux\//m, 'terminals have the command');
  assert.doesNotMatch(shown(), /curl:/);
});

// The error of curl for a connection that is refused, unreachable or reset.
const failedAtOnce = /curl: \((7|56)\)/;

test('each failure has the reply that the proxy has for it', { timeout: 300_000 }, async (t) => {
  for (const [target, http, socks] of [
    ['echo.corp.test:99', '502', '5'],
    ['unreachable.corp.test:80', '502', '4'],
    ['no-such-name.corp.test:80', '502', '4'],
    ['rebind.corp.test:80', '403', '2'],
    ['blackhole.corp.test:80', '504', '6'],
  ]) {
    await t.test(target, () => {
      const code = world.cloud(`curl -sS -m 40 -o /dev/null -w '%{http_code}' -x http://${proxy} http://${target}/`, {
        timeout: 60_000,
      });
      assert.ok(code.out.endsWith(http), code.out);
      const { out } = world.cloud(`curl -sS -m 40 -o /dev/null --socks5-hostname ${proxy} http://${target}/ 2>&1`, {
        timeout: 60_000,
      });
      assert.ok(out.includes(`(${socks})`), out);
    });
  }
  for (const url of ['http://echo.corp.test:99/', 'http://unreachable.corp.test/', 'http://rebind.corp.test/']) {
    const { ok, out } = world.cloud(`curl -sS -m 5 ${url} 2>&1`);
    assert.ok(!ok && failedAtOnce.test(out), `${url}: ${out}`);
  }
});

test('another user of the remote gets nothing', { timeout: 300_000 }, () => {
  for (const by of ['', `-x http://${proxy}`, `--socks5-hostname ${proxy}`]) {
    const curl = `curl -sS -m 5 -o /dev/null -w '%{http_code}' ${by} http://web.corp.test/ 2>&1`;
    assert.equal(world.must(curl), '200');
    const { ok, out } = world.cloud(`sudo -n -u '#${world.info.users.other.uid}' ${curl}`);
    assert.ok(!ok && /000$/.test(out) && /curl:/.test(out), `${by}: ${out}`);
  }
});

test('New Terminal with Causeway carries what runs in it', { timeout: 300_000 }, async () => {
  const file = path.join(world.info.editor.workspace, 'carried.txt');
  const screen = () =>
    editor.page
      .locator('.terminal-wrapper.active .xterm-rows')
      .innerText({ timeout: 1_000 })
      .catch(() => '');
  await editor.run('Terminal: Kill All Terminals');
  await editor.run('Causeway: New Terminal with Causeway');
  await editor.page.locator('.terminal-wrapper.active .xterm-helper-textarea').waitFor({ state: 'attached' });
  await until('the shell is there', async () => /[$#]\s*$/.test(await screen()));
  await editor.page.keyboard.type(
    `(echo run $CAUSEWAY_RUN; curl -sS --noproxy '*' -o /dev/null -w 'code %{http_code}' http://10.77.0.12/; echo END) >${file} 2>&1\n`,
  );
  const shown = () => (existsSync(file) ? readFileSync(file, 'utf8') : '');
  await until('the terminal has answered', () => shown().includes('END'));
  assert.equal(shown(), 'run carry\ncode 200END\n');
  await editor.run('Terminal: Kill All Terminals');
});

test('the view and the log say what failed, and why', { timeout: 300_000 }, async () => {
  const { ok, out } = world.cloud('curl -sS -m 10 http://no-such-name.corp.test/ 2>&1');
  assert.ok(!ok && failedAtOnce.test(out), out);
  await editor.run('View: Show Causeway');
  const row = editor.page.locator('.monaco-list-row[role=treeitem]', { hasText: 'nowhere' });
  await row.locator('.monaco-tl-twistie').click();
  await until('the view has the error', async () =>
    (await editor.rows()).some((text) => /last error: .*no.such.name/i.test(text)),
  );
  assert.match(gateway.log(), /flow refused.*no such name.*no-such-name\.corp\.test/);
});

test('Test Resource reports what stands in the way', { timeout: 300_000 }, async () => {
  for (const [name, outcome] of /** @type {[string, RegExp][]} */ ([
    ['web', /web can be reached\./],
    ['nowhere', /nowhere cannot be reached: the step .*name/],
  ])) {
    await editor.run('Causeway: Test Resource');
    await editor.pick(name);
    let said = '';
    await until(
      () => `the outcome for ${name}, but "${said}"`,
      async () => {
        said = await editor.notifications();
        return outcome.test(said);
      },
    );
    await sleep(1_000); // VS Code shows three messages within 0.8 s, and of the others the bell only
  }
  await editor.run('Notifications: Clear All Notifications');
});

test('Add Resource refuses nonsense, and what it adds waits for approval', { timeout: 300_000 }, async () => {
  await editor.run('Causeway: Add Resource');
  await editor.pick('PostgreSQL');
  await editor.type('http://db.corp.test', '(1/3)');
  await until('a scheme is refused', async () => /no scheme/.test(await editor.mistake()));
  await editor.type('orders-db.corp.test', '(1/3)');
  await editor.type('99999', '(2/3)');
  await until('a port is refused', async () => /is not a port/.test(await editor.mistake()));
  await editor.type('5432', '(2/3)');
  await editor.type('', '(3/3)');
  await gateway.says(/name +orders-db\.corp\.test[\s\S]*always\/once\/no/);
  assert.ok(!world.hosts().includes('orders-db.corp.test'));
  gateway.answer('always');
  await until('it has an address', () => world.hosts().includes('orders-db.corp.test'));
  const { user, password, database, host } = world.info.postgres;
  assert.equal(world.must(`PGPASSWORD=${password} psql -h ${host} -U ${user} -d ${database} -Atc 'select 6*7'`), '42');
  await editor.run('Notifications: Clear All Notifications');
  // And the menu of its row removes it.
  await editor.run('View: Show Causeway');
  await editor.page.locator('.monaco-list-row[aria-label^="orders-db.corp.test"]').click({ button: 'right' });
  const entry = editor.page.locator('.context-view .action-label', { hasText: 'Remove…' });
  await entry.waitFor({ state: 'visible' });
  await sleep(300); // a menu of VS Code takes no click in its first 100 ms
  await entry.click();
  await editor.dialog(/^Remove$/);
  await until('it has no address', () => !world.hosts().includes('orders-db.corp.test'));
});

/** Writes the settings of the workspace. */
function writeSettings(text) {
  const file = path.join(world.info.editor.workspace, '.vscode/settings.json');
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, text);
}

test('Suggest Resources offers hosts of the workspace with file and line, and never a value', {
  timeout: 300_000,
}, async () => {
  const secret = 'hunter2';
  writeFileSync(
    path.join(world.info.editor.workspace, '.env'),
    `# the shop\nMETRICS=http://app:${secret}@metrics.corp.test:9090/${secret}\nWEB=http://web.corp.test/\n`,
  );
  await editor.run('Causeway: Suggest Resources');
  const list = editor.page.locator('.quick-input-widget', { hasText: 'Private hosts' });
  await list.waitFor({ state: 'visible' });
  const text = (await list.locator('.monaco-list-row').allInnerTexts()).join('\n').replace(/\s+/g, ' ');
  await editor.shot('suggest');
  assert.match(text, /metrics\.corp\.test:9090\s*\.env:2 · METRICS/);
  assert.match(text, /The remote cannot resolve this name/); // so it is picked already
  assert.ok(!text.includes(secret) && !text.includes('web.corp.test'), text);
  await editor.page.keyboard.press('Enter');
  await editor.pick('my resources');
  await gateway.says(/name +metrics\.corp\.test[\s\S]*always\/once\/no/);
  gateway.answer('no');
});

test('the rows have their state in words, and the menu of the remote has Disconnect', {
  timeout: 300_000,
}, async () => {
  await editor.run('View: Show Causeway');
  await editor.page.locator('.monaco-list-row[aria-label^="web, "]').waitFor({ state: 'visible' });
  await editor.page.locator('.monaco-list-row[aria-label^="web, "]').click({ button: 'right' });
  const menu = editor.page.locator('.context-view .monaco-menu');
  await menu.waitFor({ state: 'visible' });
  await editor.shot('row-menu');
  const titles = await menu.locator('.action-label').allInnerTexts();
  for (const title of ['Copy Address', 'Copy as URL', 'Copy as Command']) {
    assert.ok(titles.includes(title), `${title} in ${titles.join()}`);
  }
  assert.ok(!titles.includes('Remove…'), 'no setting of the editor has it');
  await menu.locator('.action-label', { hasText: 'Copy as URL' }).click();
  await until(
    'the URL is copied',
    async () => (await editor.page.evaluate(() => navigator.clipboard.readText())) === 'http://web.corp.test/',
  );
  await editor.page.locator('#status\\.host').click();
  await until('the menu offers it', async () =>
    (await editor.page.locator('.quick-input-list .monaco-list-row').allInnerTexts()).some((row) =>
      /Disconnect/.test(row),
    ),
  );
  await editor.page.keyboard.press('Escape');
});

/** Clears the messages of the test before, and opens the views that show mistakes. */
async function quiet() {
  await editor.run('Notifications: Clear All Notifications');
  await until('no message stands', async () => !(await editor.notifications()));
  await editor.run('View: Show Causeway');
  if (!(await editor.page.locator('.markers-panel').isVisible())) await editor.run('Problems: Focus on Problems View');
}

const fine = { name: 'more', host: 'web.corp.test', as: 'more.corp.test', ports: [80] };
for (const [what, entries, message] of /** @type {[string, unknown[], RegExp][]} */ ([
  ['a port', [{ host: 'a.corp.test', ports: [0] }], /workspaceResources\[1\]\.ports\[0\]: .*port/],
  ['a URL', [{ host: 'http://a.corp.test', ports: [80] }], /workspaceResources\[1\]\.host: /],
  ['an unknown field', [{ hots: 'a.corp.test', host: 'a.corp.test', ports: [80] }], /workspaceResources\[1\].*hots/],
  ['no port', [{ host: 'a.corp.test' }], /workspaceResources\[1\].*port/],
  ['no host', [{ ports: [80] }], /workspaceResources\[1\].*host/],
  ['no object', ['a.corp.test'], /workspaceResources\[1\]: .*string/],
  ['localhost without a name', [{ host: 'localhost', ports: [80] }], /workspaceResources\[1\].*as/],
  ['a name twice', [{ ...fine }], /workspaceResources\[1\]: the name "more"/],
])) {
  test(`a mistake is a line of the view and a diagnostic: ${what}`, { timeout: 300_000 }, async () => {
    await quiet();
    writeSettings(JSON.stringify({ 'causeway.workspaceResources': [fine, ...entries] }, null, 2));
    // While the editor draws the view anew, it may show the mistake of the test before as well.
    let mistakes = [''];
    await until(
      () => `one line of the view says it, not ${mistakes.length}: ${mistakes.join(' | ')}`,
      async () => {
        // The diagnostics are rows too, and may name the setting in their text.
        mistakes = (await editor.rows()).filter((row) => row.trim().startsWith('causeway.workspaceResources'));
        return mistakes.length === 1 && message.test(mistakes[0] ?? '');
      },
    );
    await until('a diagnostic', async () => (await editor.problems()).some((line) => line.includes('Causeway')));
    assert.equal(await editor.notifications(), '', 'no message covers the editor');
    if (what === 'a port') {
      await gateway.says(/name +more[\s\S]*always\/once\/no/);
      gateway.answer('always');
      // Line 14 of the file: the 0 in the list of ports.
      assert.match((await editor.problems()).join(), /\[Ln 14, Col 9\]/);
      await editor.shot('mistake');
    }
    await until('what is valid is served', () => world.cloud('curl -sS -o /dev/null http://more.corp.test/').ok);
  });
}

test('a setting of the wrong type is one diagnostic, which goes when it is mended', { timeout: 300_000 }, async () => {
  await quiet();
  writeSettings('{"causeway.workspaceResources": 5}');
  await until('a line of the view', async () =>
    (await editor.rows()).some((row) => /workspaceResources: must be an array/.test(row)),
  );
  assert.equal(world.must(`curl -sS -o /dev/null -w '%{http_code}' http://web.corp.test/`), '200');
  writeSettings('{}');
  await until(
    'the diagnostic is gone',
    async () => !(await editor.problems()).some((line) => line.includes('Causeway')),
  );
});

test('a page without the token gets nothing', { timeout: 300_000 }, async () => {
  const answers = await editor.page.evaluate(async () => {
    const converse = (messages) =>
      new Promise((resolve) => {
        const socket = new WebSocket('ws://127.0.0.1:7741/');
        const said = [];
        socket.onopen = () => {
          for (const message of messages) socket.send(JSON.stringify({ jsonrpc: '2.0', ...message }));
        };
        socket.onmessage = ({ data }) => said.push(String(data));
        socket.onclose = () => resolve(said);
        setTimeout(() => socket.close(), 5_000);
      });
    const initialize = (token) => ({
      id: 1,
      method: 'initialize',
      params: { protocol: { min: 1, max: 1 }, client: { name: 'x', version: '0' }, token },
    });
    const status = { id: 2, method: 'session/status', params: {} };
    return [
      await converse([initialize(''), status]),
      await converse([initialize('0'.repeat(64)), status]),
      await converse([status]),
    ];
  });
  for (const said of answers) {
    assert.ok(
      said.every((message) => !('result' in JSON.parse(message))),
      said.join(),
    );
    assert.ok(said.length > 0, 'it is told');
  }
});

test('a second window works too, and each serves its own', { timeout: 300_000 }, async () => {
  const second = await editor.another();
  try {
    await second.statusIs(/disconnected/); // the session that it remembers is the first window's
    await second.run('Causeway: Connect');
    // A "no" holds for one session: the second one asks for what an earlier test added.
    gateway.says(/name +metrics\.corp\.test[\s\S]*always\/once\/no/).then(
      () => gateway.answer('no'),
      () => {},
    );
    await second.statusIs(/connected \(/);
    assert.equal(world.must(`curl -sS -o /dev/null -w '%{http_code}' http://web.corp.test/`), '200');
    await second.run('Causeway: Disconnect');
    await second.statusIs(/disconnected/);
    await until('the first serves', () => world.cloud('curl -sS -o /dev/null http://web.corp.test/').ok);
  } finally {
    await second.close();
  }
});
