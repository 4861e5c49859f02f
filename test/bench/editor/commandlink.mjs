// Measures the command link of the real extension beside the bare channel that it
// uses, in a browser without a debugger. scripts/bench runs it.
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { openPersistent, packages, pack, raise, startGateway, until, chromiumFlags } from '../../e2e/browser/world.mjs';

const rounds = Number(process.argv[2] ?? 5);
const mib = Number(process.env.MIB ?? 64);
const frame = 256 << 10;
const inFlight = 4;
const targets = { ratio: 0.85, p99: 60 };

const median = (values) => quantile(values, 0.5);

function quantile(values, q) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
}

const here = import.meta.dirname;
const resources = [{ name: 'web', host: 'web.corp.test', ports: [80] }];
const { web, remote } = packages();
const world = await raise({
  extensions: [web, remote, pack(path.join(here, 'probe-ui'), 'probe-ui'), pack(path.join(here, 'probe-remote'), 'probe-remote')],
  settings: { 'causeway.resources': resources, 'causeway.autoConnect': true },
});
let gateway;
let browser;
try {
  const file = path.join(world.dir, 'resources.json');
  writeFileSync(file, JSON.stringify(resources));
  gateway = startGateway(world, ['--resources', file]);
  const profile = path.join(world.dir, 'profile');
  mkdirSync(profile);
  await pairOnce(profile);
  browser = spawn(world.info.editor.chromium, [...chromiumFlags, `--user-data-dir=${profile}`, '--window-size=1280,800', world.info.editor.url], { stdio: 'ignore' });
  const socket = path.join(world.info.editor.workspace, 'probe.sock');
  const url = (way, ...numbers) => `http://probe/${way}?${numbers.map((n) => `n=${n}`).join('&')}`;
  const ask = async (way, ...numbers) => {
    // The extension host of the window that paired is still there, but never answers.
    const { ok, out } = await world.meanwhile(`curl -sS -f -m ${way === 'ping' ? 5 : 120} --unix-socket ${socket} '${url(way, ...numbers)}'`);
    if (!ok) throw new Error(`${way}: ${out}`);
    return JSON.parse(out);
  };
  await until('the probes answer', async () => ask('ping', 1, 0).then(() => true, () => false));
  await until('connected', () => world.hosts().includes('web.corp.test'));

  /** MB/s of one way, and how long the editor took to answer meanwhile. */
  const measure = async (run) => {
    const pings = [];
    let running = true;
    const pinging = (async () => {
      while (running) pings.push(...(await ask('ping', 10, 20)));
    })();
    const seconds = await run();
    running = false;
    await pinging;
    return { rate: (mib << 20) / 1e6 / seconds, p99: quantile(pings, 0.99) };
  };
  const timed = async (script) => {
    const { ok, out } = await world.meanwhile(script);
    if (!ok) throw new Error(out);
    return Number(out);
  };
  const bytes = `http://web.corp.test/bytes?n=${mib << 20}`;
  const upload = path.join(world.info.editor.workspace, 'upload.bin');
  world.must(`head -c ${mib << 20} /dev/urandom >${upload}`);
  // "Down" at the remote means bytes from the browser.
  const ways = {
    'bare down': () => ask('down', (mib << 20) / frame, frame, inFlight),
    'Causeway down': (round) => timed(`curl -sS -o /dev/null -w '%{time_total}' '${bytes}&seed=${round}'`),
    'bare up': () => ask('up', (mib << 20) / frame, frame, inFlight),
    'Causeway up': () => timed(`curl -sS -o /dev/null -w '%{time_total}' -T ${upload} http://web.corp.test/upload`),
  };
  const found = Object.fromEntries(Object.keys(ways).map((way) => [way, []]));
  const idle = await ask('ping', 100, 5);
  for (let round = 0; round <= rounds; round++) {
    for (const [way, run] of Object.entries(ways)) {
      const result = await measure(() => run(round));
      console.error(`${round === 0 ? 'warm-up' : `round ${round}`}: ${way} ${result.rate.toFixed(1)} MB/s, answers within ${result.p99.toFixed(0)} ms`);
      if (round > 0) found[way].push(result); // the first round is a warm-up
    }
  }
  print(found, idle);
} finally {
  browser?.kill();
  await gateway?.close();
  await world.close();
}

/** Leaves the pairing token in the profile, where the browser without a debugger finds it. */
async function pairOnce(profile) {
  const [, token] = await gateway.says(/pairing token: (\S+)/);
  const editor = await openPersistent(world, profile);
  await editor.run('Causeway: Pair with Local Helper');
  await editor.type(token);
  await gateway.says(/A page from \S+ has the pairing token/);
  gateway.answer('yes');
  await editor.statusIs(/connected \(1 resource/);
  await editor.run('Causeway: Disconnect');
  await editor.statusIs(/disconnected/);
  await editor.close();
}

function print(found, idle) {
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  console.log(`\n### The command link through VS Code in a browser, ${mib} MiB of incompressible data (${rounds} rounds, ${commit})\n`);
  console.log('| | MB/s | of the bare channel | editor answers, p99 ms | |');
  console.log('|---|---:|---:|---:|---|');
  for (const direction of ['down', 'up']) {
    const bare = found[`bare ${direction}`];
    const ours = found[`Causeway ${direction}`];
    const ratio = median(ours.map(({ rate }, i) => rate / bare[i].rate));
    const row = (name, list, share, verdict) =>
      console.log(`| ${name} ${direction} | ${median(list.map((r) => r.rate)).toFixed(1)} | ${share} | ${median(list.map((r) => r.p99)).toFixed(0)} | ${verdict} |`);
    row('bare', bare, '', '');
    const p99 = median(ours.map((r) => r.p99));
    const missed = [ratio < targets.ratio && 'rate', p99 > targets.p99 && 'answers'].filter(Boolean);
    row('Causeway', ours, ratio.toFixed(2), missed.length > 0 ? `**missed**: ${missed.join(', ')}` : 'met');
  }
  console.log(`| to reach | | ≥ ${targets.ratio} | ≤ ${targets.p99} | |`);
  console.log(`\nIdle, the editor answers in ${median(idle).toFixed(1)} ms, 99 % within ${quantile(idle, 0.99).toFixed(1)} ms.`);
}
