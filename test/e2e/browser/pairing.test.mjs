// Pairing by a code: the helper has no terminal that the user looks at. It opens a page
// of its own, where the user answers for this window and for its resources.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { openEditor, packages, raise, startGateway, until } from './world.mjs';

const resources = [
  { name: 'orders', host: 'orders-db.corp.test', ports: [5432] },
  { name: 'web', host: 'web.corp.test', ports: [80] },
];

let world;
let gateway;
let editor;
/** The helper's page, in the browser of the editor. */
let desk;
/** What the helper has opened, one URL per line. */
let opened;

before(
  async () => {
    const { web, remote } = packages();
    world = await raise({ extensions: [web, remote], settings: { 'causeway.resources': resources } });
    // The browser of these tests has no xdg-open, so this one notes what it shall open.
    const bin = path.join(world.dir, 'desktop');
    opened = path.join(world.dir, 'opened');
    mkdirSync(bin);
    writeFileSync(opened, '');
    writeFileSync(path.join(bin, 'xdg-open'), `#!/bin/sh\necho "$1" >>${opened}\n`);
    chmodSync(path.join(bin, 'xdg-open'), 0o755);
    gateway = startGateway(world, [], { DISPLAY: ':77', PATH: `${bin}:${process.env.PATH}` });
    await gateway.says(/page for your answers: http:\/\/127\.0\.0\.1:7741\/ask\/#\S+/);
    editor = await openEditor(world);
    desk = await editor.page.context().newPage();
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

/** Returns the question with text on the helper's page. */
const question = (text) => desk.locator('section', { hasText: text });

test('a code pairs this window, on a page that the helper opens', { timeout: 300_000 }, async () => {
  await editor.page.bringToFront();
  await editor.run('Causeway: Connect');
  const code = await until(
    'the editor shows a code',
    async () => /code of this window is ([2-9A-Z]{4})\./.exec(await editor.notifications())?.[1],
  );
  const url = await until('the helper opens its page', () => readFileSync(opened, 'utf8').trim());
  assert.match(url, /^file:\/\/\/\S+\/ask-7741\.html$/);
  await desk.goto(url);
  await desk.waitForURL('http://127.0.0.1:7741/ask/'); // without the secret
  await question(code).waitFor();
  const text = await question(code).innerText();
  assert.match(text, /A page from http:\/\/127\.0\.0\.1:8080 wants to use this helper/);
  await desk.screenshot({ path: path.join('out/test', 'pairing.png') });

  // Another site that knows the port asks too. It gets nothing, whatever it says.
  const stranger = await editor.page.context().newPage();
  await stranger.goto('http://localhost:8080/healthz');
  const refusal = stranger.evaluate(
    () =>
      new Promise((resolve) => {
        const socket = new WebSocket('ws://127.0.0.1:7741/pair?code=EVTT');
        socket.onmessage = ({ data }) => resolve(`got ${data}`);
        socket.onclose = ({ reason }) => resolve(reason);
      }),
  );
  await question('EVTT').waitFor();
  assert.match(await question('EVTT').innerText(), /http:\/\/localhost:8080/);
  await question('EVTT').getByRole('button', { name: 'No' }).click();
  assert.match(await refusal, /did not allow this page/);
  // It can neither frame the page nor answer for the user.
  const framed = await stranger.evaluate(async () => {
    const frame = document.createElement('iframe');
    frame.src = 'http://127.0.0.1:7741/ask/';
    document.body.append(frame);
    await new Promise((resolve) => {
      frame.onload = resolve;
    });
    const answer = await fetch('http://127.0.0.1:7741/ask/answer', { method: 'POST', body: '{}', mode: 'no-cors' })
      .then(({ type }) => type)
      .catch(() => 'failed');
    return { answer, count: window.length };
  });
  assert.deepEqual(
    await Promise.all(
      stranger
        .frames()
        .slice(1)
        .map((frame) => frame.locator('section').count()),
    ),
    [0],
    JSON.stringify(framed),
  );
  await stranger.close();

  await desk.bringToFront();
  await question(code).getByRole('button', { name: 'Yes' }).click();
  for (const { name, host } of resources) {
    const asked = question(new RegExp(`name +${name}\\b`));
    await asked.waitFor();
    assert.match(await asked.innerText(), new RegExp(`host +${host}`));
    assert.ok(!world.cloud(`getent hosts ${host}`).ok, 'nothing is reachable before the approval');
    await desk.screenshot({ path: path.join('out/test', 'approval-page.png') });
    await asked.getByRole('button', { name: 'Always' }).click();
  }
  await editor.page.bringToFront();
  await editor.statusIs(/connected \(2 resources/);
  assert.equal(world.must(`curl -sS -o /dev/null -w '%{http_code}' http://web.corp.test/`), '200');
  await desk.getByText('asks nothing now').waitFor();
});

test('afterwards nobody is asked again', { timeout: 300_000 }, async () => {
  await editor.run('Causeway: Disconnect');
  await editor.statusIs(/disconnected/);
  await editor.run('Causeway: Connect');
  await editor.statusIs(/connected \(2 resources/);
  assert.equal(await desk.locator('section').count(), 0);
  assert.equal(readFileSync(opened, 'utf8').trim().split('\n').length, 1, 'the page was opened once');
});

test('a page of a helper that has ended says so', { timeout: 300_000 }, async () => {
  await gateway.close();
  gateway = startGateway(world, ['--page', 'on']);
  await gateway.says(/page for your answers/);
  await desk.getByText('belongs to a helper that has ended').waitFor();
  await editor.statusIs(/disconnected|error|failed|ended/i);
});
