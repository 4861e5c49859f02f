// Shared by the tests of this folder: the lab with VS Code in it, and a browser on
// laptop that shows it. Each part ends the processes that it starts.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';

export const root = path.resolve(import.meta.dirname, '../../..');
export const soak = Boolean(process.env.CAUSEWAY_SOAK);
export const artefacts = path.join(root, 'out/test');
const arch = `linux-${process.arch}`;

/**
 * Time limit for steps that a test does not measure, in ms. Machines may be slow
 * and busy, and a long limit costs time only if a test fails.
 */
const patience = 60_000;

/**
 * Waits until check returns a true value, and returns it. The error names what, or the result of the function what.
 * @template T
 * @param {string | (() => string)} what
 * @param {() => T | Promise<T>} check
 */
export async function until(what, check, ms = patience) {
  const end = Date.now() + ms;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${typeof what === 'function' ? what() : what}`);
    await sleep(50);
  }
}

/** Raises a lab with VS Code. The extensions are VSIX files. */
export async function raise(
  /** @type {{ extensions: string[], settings: object, env?: string[] }} */ { extensions, settings, env = [] },
) {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'causeway-browser-'));
  execFileSync('chmod', ['755', dir]);
  current = dir;
  const bin = path.join(dir, 'lab');
  execFileSync('go', ['build', '-o', bin, './test/lab/cmd/lab'], { cwd: root, stdio: 'inherit' });
  const helper = path.join(dir, 'causeway');
  execFileSync('cp', [path.join(root, 'dist/bin', arch, 'causeway'), helper]);
  const at = path.join(dir, 'lab.d');
  const settingsFile = path.join(dir, 'settings.json');
  writeFileSync(settingsFile, JSON.stringify({ ...quiet, ...settings }, null, 2));
  const args = ['up', '--dir', at, '--settings', settingsFile, '--quiet', '--wrap', `laptop=${helper}`];
  for (const file of extensions) args.push('--extension', file);
  // Both extensions share one host and read this variable. The script runs the gateway on laptop.
  const either = path.join(dir, 'helper');
  writeFileSync(
    either,
    `#!/bin/sh\n[ "$1" = gateway ] && exec ${path.join(at, 'bin/laptop-causeway')} "$@"\nexec ${helper} "$@"\n`,
    { mode: 0o755 },
  );
  for (const pair of env) args.push('--editor-env', pair.replace('%HELPER%', either));
  const lab = spawn(bin, args, { stdio: ['pipe', 'pipe', 'inherit'], cwd: root });
  await new Promise((/** @type {(none?: undefined) => void} */ resolve, reject) => {
    let said = '';
    lab.stdout.on('data', (text) => {
      said += text;
      if (said.includes('ready')) resolve();
    });
    lab.on('exit', (code) => reject(new Error(`lab ended with ${code}`)));
  });
  const info = JSON.parse(readFileSync(path.join(at, 'lab.json'), 'utf8'));
  const cloud = (script, { timeout = 30_000 } = {}) => {
    const r = spawnSync(info.hosts.cloud.exec, ['bash', '--norc', '-euo', 'pipefail', '-c', script], {
      stdio: ['ignore', 'pipe', 'pipe'], // bash takes a socket as stdin for a remote login
      timeout,
      encoding: 'utf8',
    });
    return { ok: r.status === 0, out: `${r.stdout}${r.stderr}`.trim() };
  };
  return {
    dir,
    info,
    helper,
    cloud,
    /** Like cloud, but throws if the script fails. */
    must(script, options) {
      const { ok, out } = cloud(script, options);
      if (!ok) throw new Error(`${script}: ${out}`);
      return out;
    },
    /** Like cloud, for long scripts: resolves when the script has ended. */
    async meanwhile(script) {
      const child = spawn(info.hosts.cloud.exec, ['bash', '--norc', '-euo', 'pipefail', '-c', script], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let out = '';
      for (const stream of [child.stdout, child.stderr])
        stream.on('data', (text) => {
          out += text;
        });
      const code = await new Promise((resolve) => child.on('close', resolve));
      return { ok: code === 0, out: out.trim() };
    },
    /** Returns the status of the background helpers of the host's root user. */
    status(host) {
      const { XDG_CACHE_HOME, ...env } = process.env;
      const out = execFileSync(info.hosts[host].exec, [helper, 'status', '--json'], {
        env: { ...env, HOME: path.join(info.dir, 'home/root') },
      });
      return JSON.parse(String(out));
    },
    hosts: () => readFileSync(info.hosts.cloud.hostsFile, 'utf8'),
    async close() {
      lab.stdin.end();
      await until('the lab is gone', () => lab.exitCode !== null || lab.signalCode !== null);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

const quiet = {
  'chat.disableAIFeatures': true,
  'extensions.ignoreRecommendations': true,
  'workbench.secondarySideBar.defaultVisibility': 'hidden',
  'workbench.startupEditor': 'none',
};

const vsce = (dir, out) =>
  execFileSync(
    path.join(root, 'node_modules/.bin/vsce'),
    ['package', '--no-dependencies', '--skip-license', '--allow-missing-repository', '--out', out],
    { cwd: dir, stdio: ['ignore', 'ignore', 'inherit'] },
  );

/** Packs the extension in dir and returns the VSIX file. */
export function pack(dir, name) {
  const out = path.join(root, `dist/${name}.vsix`);
  vsce(dir, out);
  return out;
}

/** Returns the VSIX file of the hostile extension in planter/. */
export const planter = () => pack(path.join(import.meta.dirname, 'planter'), 'planter');

/** Packs the test build of the UI extension with more options of stage.mjs, once packages has built it. Returns the VSIX file. */
export function packTest(name, options = []) {
  const stage = path.join(root, 'dist/stage', name);
  const args = ['extension/stage.mjs', '--kind', 'ui-test', '--out', stage, ...options];
  execFileSync('node', args, { cwd: root, stdio: 'inherit' });
  return pack(stage, name);
}

/** The VSIX files of the browser's UI extension, the desktop's for tests, and the companion. */
export function packages() {
  const dir = path.join(root, 'dist/package');
  execFileSync('scripts/package', ['web', arch], { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
  const version = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')).version;
  const desktop = packTest('ui-test');
  return {
    web: path.join(dir, `causeway-web-${version}.vsix`),
    remote: path.join(dir, `causeway-remote-${arch}-${version}.vsix`),
    desktop,
  };
}

/** The lab that is up. Only its processes are ours. */
let current = '/nowhere';

/** Returns the helpers of this lab whose arguments begin with command. */
export function processes(command) {
  return readdirSync('/proc')
    .filter((pid) => {
      if (!/^\d+$/.test(pid)) return false;
      try {
        if (!readlinkSync(`/proc/${pid}/exe`).startsWith(`${current}/`)) return false;
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[1] === command;
      } catch {
        return false;
      }
    })
    .map(Number);
}

/**
 * Returns the first group of pattern in text, which must match.
 * @param {RegExp} pattern
 * @param {string} text
 */
export function part(pattern, text) {
  const match = pattern.exec(text)?.[1];
  if (match === undefined) throw new Error(`no ${pattern} in: ${text}`);
  return match;
}

/** Returns the bytes that a process has read and written so far, on any descriptor. */
export function moved(pid) {
  const io = readFileSync(`/proc/${pid}/io`, 'utf8');
  return ['rchar', 'wchar'].reduce((sum, field) => sum + Number(part(new RegExp(`${field}: (\\d+)`), io)), 0);
}

/** Returns the processor time of a process so far, in seconds. */
export function busy(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

export const residentMiB = (pid) => Number(part(/VmRSS:\s+(\d+)/, readFileSync(`/proc/${pid}/status`, 'utf8'))) / 1024;

/** Starts the gateway for a browser, in a terminal of its own. */
export function startGateway(world, args = [], env = {}) {
  const home = path.join(world.dir, 'home');
  mkdirSync(home, { recursive: true });
  const command = [world.info.hosts.laptop.exec, world.helper, 'gateway', '--listen', '127.0.0.1:7741', ...args].join(
    ' ',
  );
  const child = spawn('script', ['-qfec', command, '/dev/null'], {
    env: { ...process.env, HOME: home, XDG_CONFIG_HOME: home, ...env },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let said = '';
  let seen = 0;
  child.stdout.on('data', (text) => {
    said += text;
  });
  return {
    /** Waits for new text and returns the match. */
    async says(pattern) {
      const match = await until(
        () => `the gateway says ${pattern}; so far: ${said.slice(seen)}`,
        () => pattern.exec(said.slice(seen)),
      );
      seen += match.index + match[0].length;
      return match;
    },
    answer: (word) => child.stdin.write(`${word}\r`),
    log: () => said,
    async close() {
      child.stdin.end();
      for (const pid of processes('gateway')) process.kill(pid, 'SIGTERM');
      await until('the gateway is gone', () => processes('gateway').length === 0);
      child.kill();
    },
  };
}

/** The command line flags of the browser. */
export const chromiumFlags = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/**
 * Opens a browser on laptop that shows VS Code.
 * @param {{ info: any }} world
 * @param {{ args?: string[], permissions?: string[], url?: string, ready?: string }} options ready: what shows that the
 *   window is ready; without it, the status of Causeway
 */
export async function openEditor(world, { args = [], permissions = [], url = world.info.editor.url, ready } = {}) {
  const browser = await chromium.launch({
    executablePath: world.info.editor.chromium,
    args: [...chromiumFlags, ...args],
  });
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const { origin } = new URL(url);
  if (permissions.length > 0) await context.grantPermissions(permissions, { origin });
  return openWindow(context, url, () => browser.close(), ready);
}

/** Like openEditor, with a profile that outlives the browser. */
export async function openPersistent(world, profile) {
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: world.info.editor.chromium,
    args: chromiumFlags,
  });
  return openWindow(context, world.info.editor.url, () => context.close());
}

/** Opens a window. close ends it. */
async function openWindow(context, url, close, ready = '[id*="causeway-dev"]') {
  const page = await context.newPage();
  page.setDefaultTimeout(30_000); // below that of every test, so that what failed is named
  await page.goto(url, { timeout: 90_000 });
  /** Returns the row of the quick input that Enter would take. */
  const chosen = async () => (await page.locator('.quick-input-list .monaco-list-row.focused').allInnerTexts()).join();
  const editor = {
    page,
    /** Opens a second window of the same browser. */
    another: () => openWindow(context, url, () => context.pages().at(-1).close()),
    /** Returns the state in words, as a screen reader says it. */
    status: async () =>
      page.locator('[id*="causeway-dev"]').evaluateAll((items) =>
        items
          .map((item) => (item.matches('[aria-label]') ? item : item.querySelector('[aria-label]')))
          .map((item) => item?.getAttribute('aria-label') ?? '')
          .join(' ')
          .trim(),
      ),
    /** Returns the text in the status bar. */
    shown: async () => (await page.locator('[id*="causeway-dev"]').allInnerTexts()).join(' ').trim(),
    async ready() {
      await page.waitForSelector('.monaco-workbench', { timeout: 2 * patience });
      await page.waitForSelector(ready, { timeout: 2 * patience });
    },
    async statusIs(pattern) {
      let last = '';
      try {
        return await until(
          `status ${pattern}`,
          async () => {
            last = await editor.status().catch(() => '');
            return pattern.exec(last);
          },
          2 * patience,
        );
      } catch (error) {
        await editor.shot('failed');
        throw new Error(
          `${/** @type {Error} */ (error).message}; it is "${last}"; notifications: ${await editor.notifications()}`,
        );
      }
    },
    /** Runs a command by its title. */
    async run(title) {
      const input = page.locator('.quick-input-widget input');
      const offered = async () => (await input.isVisible()) && (await chosen()).includes(title);
      // A slow page may close the box of the command before only now, together with the text in it.
      await until(`the command "${title}" is offered`, async () => {
        await page.keyboard.press('Escape');
        await input.waitFor({ state: 'hidden', timeout: 5_000 }).catch(() => {});
        await page.keyboard.press('F1');
        return input
          .fill(`>${title}`, { timeout: 5_000 })
          .then(() => until('a row', offered, 3_000))
          .catch(() => false);
      });
      await page.keyboard.press('Enter');
      // The box is gone, or an input box of the command has replaced it.
      await until(
        `the command "${title}" is taken`,
        async () => !(await input.isVisible()) || !(await input.inputValue()).startsWith('>'),
      );
    },
    /** Answers the open input box, once its title contains title. */
    async type(text, title = '') {
      const input = page.locator('.quick-input-widget input');
      await input.waitFor({ state: 'visible' });
      await page
        .locator('.quick-input-widget .quick-input-title', { hasText: title })
        .waitFor({ state: title ? 'visible' : 'attached' });
      await input.fill(text);
      await page.keyboard.press('Enter');
    },
    /** Picks the row with text from the open list. */
    async pick(text) {
      await page.locator('.quick-input-widget input').fill(text);
      await until(`a choice with "${text}"`, async () => (await chosen()).includes(text));
      await page.keyboard.press('Enter');
    },
    /** Copies the address of the proxy on cloud and returns it from the clipboard, within ms. */
    async proxy(ms = patience) {
      await editor.run('Causeway: Copy Proxy Address');
      return until(
        'an address is copied',
        async () => /^127\.\d+\.\d+\.\d+:\d+$/.exec(await page.evaluate(() => navigator.clipboard.readText()))?.[0],
        ms,
      );
    },
    /** Returns the complaint of the input box about its text. */
    mistake: () => page.locator('.quick-input-message').innerText(),
    rows: () => page.locator('.monaco-list-row[role=treeitem]').allInnerTexts(),
    /** Returns the lines of the Problems view. */
    problems: () => page.locator('.markers-panel .monaco-list-row').allInnerTexts(),
    notifications: async () => (await page.locator('.notification-list-item-message').allInnerTexts()).join(' | '),
    /** Presses a button of the open modal dialog, and returns the dialog's text. */
    async dialog(button) {
      const box = page.locator('.monaco-dialog-box');
      await box.waitFor({ state: 'visible', timeout: patience });
      const text = await box.innerText();
      const wanted = box.locator('.monaco-button', { hasText: button });
      await until(
        () => `the dialog had no ${button}: ${text}`,
        async () => (await wanted.count()) > 0,
      );
      await wanted.click();
      await until('the dialog is gone', async () => !(await box.allInnerTexts()).includes(text));
      return text;
    },
    async shot(name) {
      mkdirSync(artefacts, { recursive: true });
      await page.screenshot({ path: path.join(artefacts, `${name}.png`) });
    },
    close,
  };
  await editor.ready();
  return editor;
}

/** Controls the relay between the browser and VS Code: "cut", "stall", "resume". */
export const relay = (world, action) => control(world.info.editor.relaySocket, action);

/** Controls the ports that the lab forwards for the test build: the same actions, and "answer". See lab.Forwarder. */
export const forwarding = (world, action, parameters = {}) =>
  control(world.info.editor.forwardSocket, `${action}?${new URLSearchParams(parameters)}`);

/** Returns the forwarded ports, and how often the extension has asked for one. */
export function forwards(world) {
  return JSON.parse(
    execFileSync('curl', ['-sS', '-f', '--unix-socket', world.info.editor.forwardSocket, 'http://lab/'], {
      encoding: 'utf8',
    }),
  );
}

function control(socket, action) {
  execFileSync('curl', ['-sS', '-f', '-o', '/dev/null', '-X', 'POST', '--unix-socket', socket, `http://lab/${action}`]);
}

/** Waits until nothing of Causeway is left on cloud, for ms at most. */
export async function clean(world, before, ms = 2_000) {
  await until('our hosts block is gone', () => world.hosts() === before, ms);
  await until(
    'no process is left on cloud',
    () => processes('capture').length + processes('privileged').length === 0,
    5_000,
  );
}

const GALLERY_PORT = 18181;
/** Has the editor look for extensions at the stub, where nothing listens unless a test starts it. */
export const atGallery = `EXTENSIONS_GALLERY={"serviceUrl":"http://127.0.0.1:${GALLERY_PORT}"}`;

/**
 * Starts a stub gallery at the same address on laptop, for the page, and on cloud, for the editor's server.
 * args are those of gallery.mjs after the port.
 */
export async function startGallery(world, args) {
  const children = [];
  let log = '';
  for (const host of ['laptop', 'cloud']) {
    const program = path.join(import.meta.dirname, 'gallery.mjs');
    const child = spawn(world.info.hosts[host].exec, [process.execPath, program, String(GALLERY_PORT), ...args], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    children.push(child);
    let said = '';
    child.stdout.on('data', (text) => {
      said += text;
      log += `${host} ${text}`;
    });
    await until('the gallery listens', () => said.includes('ready'));
  }
  return {
    log: () => log,
    close() {
      for (const child of children) child.kill();
    },
  };
}
