import { describe, expect, it, vi } from 'vitest';
import { isSources } from '../../../shared/src/bridge';
import type { Approval, Decision } from '../../../shared/src/protocol';
import { Approvals } from '../../../ui/src/approvals';
import { Companion } from '../../../ui/src/companion';
import type { Connection } from '../../../ui/src/connection';
import { localPort } from '../../../ui/src/forward';
import { identify } from '../../../ui/src/identity';
import { entryOf, hostMistake, nameMistake, portsMistake } from '../../../ui/src/resourceEntry';
import { DEFAULTS, readResources, readSettings } from '../../../ui/src/settings';
import { explain } from '../../../ui/src/socketText';
import { outcome, reportText } from '../../../ui/src/testText';
import { Trouble } from '../../../ui/src/trouble';

const configuration = (values: Record<string, unknown>, workspace: Record<string, unknown> = {}) => ({
  get: (key: string) => workspace[key] ?? values[key],
  inspect: (key: string) => ({ globalValue: values[key], workspaceValue: workspace[key] }),
});

describe('localPort', () => {
  it.each([
    ['http', '127.0.0.1:18077', '/', { port: 18077 }],
    ['http', 'localhost:40000', '', { port: 40000 }],
    ['https', 'name-18077.preview.app.github.dev', '/', { why: expect.stringContaining('github.dev') }],
    ['http', '127.0.0.1:8772', '/proxy/18077', { why: expect.stringContaining('/proxy/') }],
    ['http', 'localhost.evil.example:80', '/', { why: expect.any(String) }],
  ])('of %s://%s%s', (scheme, authority, path, want) => {
    expect(localPort({ scheme, authority, path })).toEqual(want);
  });
});

describe('sources that arrive', () => {
  it.each([
    [{}, true],
    [{ names: 'on', dns: 'off', tun: 'auto' }, true],
    [{ names: 'maybe' }, false],
    [{ other: 'on' }, false],
    [['on'], false],
    ['on', false],
    [null, false],
  ])('%j', (value, want) => {
    expect(isSources(value)).toBe(want);
  });
});

describe('bridges', () => {
  it('are names of interfaces, few of them and each once', () => {
    const wrong = ['docker0', 'docker0', '../x', 'a b', 'far-too-long-a-name', '', 7];
    expect(readSettings(configuration({ bridges: wrong })).bridges).toEqual(['docker0']);
    const many = Array.from({ length: 20 }, (_, i) => `br-${i}`);
    expect(readSettings(configuration({ bridges: many })).bridges).toHaveLength(8);
    expect(readSettings(configuration({ bridges: 'docker0' })).bridges).toEqual([]);
  });
});

describe('settings', () => {
  it('of a wrong type count as not set', () => {
    const wrong = { autoConnect: 'yes', logLevel: 'loud', localHelperPort: 70_000, strictProxy: 1 };
    expect(readSettings(configuration(wrong))).toEqual(DEFAULTS);
    expect(readSettings(configuration({ sources: { tun: 'off', names: 'no', other: 'on' } })).sources).toEqual({
      ...DEFAULTS.sources,
      tun: 'off',
    });
    expect(readSettings(configuration({ logLevel: 'debug', localHelperPort: 9000 }))).toMatchObject({
      logLevel: 'debug',
      localHelperPort: 9000,
    });
    const minutes = [0, 1, 180, 181, '5'].map((resumeMinutes) => readSettings(configuration({ resumeMinutes })));
    expect(minutes.map(({ resumeMinutes }) => resumeMinutes)).toEqual([10, 1, 180, 10, 10]);
  });

  it('pass the lists on as they stand, from the user and from a trusted workspace', () => {
    const lists = configuration(
      { resources: 'mistake', workspaceResources: ['of the user'], exits: { office: {} } },
      { resources: ['of the workspace'], workspaceResources: [1], exits: { office: 'of the workspace' } },
    );
    expect(readResources(lists, true)).toEqual({
      resources: 'mistake',
      workspaceResources: [1],
      exits: { office: {} },
    });
    expect(readResources(lists, false)).toEqual({ resources: 'mistake', exits: { office: {} } });
    expect(readResources(configuration({}), true)).toEqual({});
  });
});

describe('identify', () => {
  const uri = (scheme: string, authority: string) => ({
    scheme,
    authority,
    toString: () => `${scheme}://${authority}/w`,
  });

  it('takes the authority from what is open', () => {
    expect(identify('ssh-remote', undefined, uri('vscode-remote', 'ssh-remote+h'), 'w')).toMatchObject({
      authority: 'ssh-remote+h',
      workspace: 'vscode-remote://ssh-remote+h/w',
      lasting: true,
    });
  });

  it('lets no approval last where nothing is open, since that stands for every host', () => {
    expect(identify('ssh-remote', undefined, undefined, undefined)).toMatchObject({
      authority: 'ssh-remote',
      workspace: '',
      lasting: false,
    });
  });

  it('knows a window without a remote', () => {
    expect(identify(undefined, undefined, uri('file', ''), 'w')).toBeUndefined();
  });
});

describe('the guided input', () => {
  it.each([
    'orders-db.corp.test',
    '*.corp.test',
    '10.0.0.0/8',
    'fd00::/8',
    'fd00::1',
    'localhost',
    'bücher.test',
    'h.',
  ])('takes the host %s', (host) => expect(hostMistake(host)).toBeUndefined());
  it.each(['', 'http://x', 'a b', 'host:5432', 'a/b', 'x@y', '-a.test', 'a..b', '*.*.x', `${'a'.repeat(64)}.test`])(
    'refuses the host "%s"',
    (host) => expect(hostMistake(host)).toBeDefined(),
  );
  it.each(['5432', '1-65535', '15432:5432', '80, 443 8000-8010'])('takes the ports %s', (ports) =>
    expect(portsMistake(ports)).toBeUndefined(),
  );
  it.each(['', ' , ', '0', '65536', '10-9', 'ssh', '1:', '1-2-3', '-1'])('refuses the ports "%s"', (ports) =>
    expect(portsMistake(ports)).toBeDefined(),
  );

  it('wants a dot in a name, and writes an entry of the settings', () => {
    expect(nameMistake('laptop')).toBeDefined();
    expect(nameMistake('laptop.internal')).toBeUndefined();
    expect(entryOf(' localhost ', '3000, 8000-8010', 'laptop.internal')).toEqual({
      host: 'localhost',
      ports: [3000, '8000-8010'],
      as: 'laptop.internal',
    });
    expect(entryOf('x.test', '80', '')).toEqual({ host: 'x.test', ports: [80] });
  });
});

describe('Approvals', () => {
  const approval = (id: string) => ({ id }) as Approval;
  const result = (...ids: string[]) => ({ problems: [], approvals: ids.map(approval) });

  function dialogs() {
    const open: { id: string; answer(decision?: Decision): void }[] = [];
    const answer = vi.fn(async () => result());
    const connection = () => ({ answer }) as unknown as Connection;
    const approvals = new Approvals(
      ({ id }) => new Promise((resolve) => open.push({ id, answer: resolve })),
      () => {},
    );
    return { open, answer, connection, approvals };
  }
  const settle = () => new Promise(setImmediate);

  it('asks one at a time, and for each once', async () => {
    const { open, answer, connection, approvals } = dialogs();
    approvals.update(result('a', 'b'), connection);
    approvals.update(result('a', 'b'), connection);
    expect(open.map(({ id }) => id)).toEqual(['a']);
    open[0]?.answer('always');
    await settle();
    expect(open.map(({ id }) => id)).toEqual(['a', 'b']);
    open[1]?.answer('no');
    await settle();
    approvals.update(result('b'), connection);
    await settle();
    expect(open.length).toBe(2);
    expect(answer.mock.calls).toEqual([
      [{ answers: [{ id: 'a', decision: 'always' }] }],
      [{ answers: [{ id: 'b', decision: 'no' }] }],
    ]);
  });

  it('does not ask for what has been taken back', async () => {
    const { open, connection, approvals } = dialogs();
    approvals.update(result('a', 'b'), connection);
    approvals.update(result('a'), connection);
    open[0]?.answer('once');
    await settle();
    expect(open.length).toBe(1);
  });

  it('leaves what is put off waiting, and asks again when told to', async () => {
    const { open, answer, connection, approvals } = dialogs();
    approvals.update(result('a'), connection);
    approvals.again();
    open[0]?.answer(undefined);
    await settle();
    expect([open.length, answer.mock.calls.length]).toEqual([1, 0]);
    approvals.again();
    open[1]?.answer('once');
    await settle();
    expect(answer).toHaveBeenCalledTimes(1);
  });

  it('lets a dialog of an old session answer nothing, and asks anew in the next', async () => {
    const { open, answer, connection, approvals } = dialogs();
    approvals.update(result('a'), connection);
    approvals.update(undefined, () => undefined);
    approvals.update(result('a'), connection);
    open[0]?.answer('always');
    await settle();
    expect(answer).not.toHaveBeenCalled();
    expect(open.length).toBe(2);
    open[1]?.answer('once');
    await settle();
    expect(answer).toHaveBeenCalledTimes(1);
  });
});

describe('Companion', () => {
  const signal = () => new AbortController().signal;

  it('waits for a companion that is activating', async () => {
    vi.useFakeTimers();
    let calls = 0;
    const execute = async () => {
      if (++calls < 4) throw new Error("command '_causeway.remote.hello' not found");
      return { protocol: 1, version: '0.1.0' };
    };
    const hello = new Companion(execute, '0.1.0').hello(signal());
    await vi.advanceTimersByTimeAsync(3000);
    await hello;
    expect(calls).toBe(4);
    vi.useRealTimers();
  });

  it('offers to install it when it does not come', async () => {
    vi.useFakeTimers();
    const execute = () => Promise.reject(new Error('not found'));
    const hello = new Companion(execute, '0.1.0').hello(signal());
    const seen = expect(hello).rejects.toMatchObject({
      name: 'Trouble',
      remedies: [{ command: 'causeway.installCompanion' }, { command: 'causeway.connect' }],
    });
    await vi.advanceTimersByTimeAsync(25_000);
    await seen;
    vi.useRealTimers();
  });

  it('does not wait when the versions do not meet', async () => {
    const refuses = new Companion(async () => ({ refused: 'update the companion' }), '0.1.0');
    await expect(refuses.hello(signal())).rejects.toThrow('update the companion');
    const newer = new Companion(async () => ({ protocol: 99, version: '9.0.0' }), '0.1.0');
    await expect(newer.hello(signal())).rejects.toBeInstanceOf(Trouble);
  });

  it('can be given up', async () => {
    const abort = new AbortController();
    const hello = new Companion(() => new Promise(() => {}), '0.1.0').hello(abort.signal);
    abort.abort(new Error('cancelled'));
    await expect(hello).rejects.toThrow('cancelled');
  });
});

describe('a failed socket', () => {
  it('is explained by what the browser knows', () => {
    expect(explain('denied', true, 7741)).toContain('site settings');
    expect(explain('prompt', true, 7741)).toContain('Allow');
    for (const access of ['granted', 'unknown'] as const) {
      expect(explain(access, true, 7750)).toContain('causeway gateway --listen 127.0.0.1:7750');
    }
    expect(explain('granted', false, 7741)).toContain('https');
  });
});

describe('a test of a resource', () => {
  const steps = [
    { step: 'resolve', ok: true, detail: '10.1.2.3', millis: 2.2 },
    { step: 'connect', ok: false, detail: 'timed out', hint: 'Is the VPN up?', millis: 5000 },
  ];

  it('is reported step by step', () => {
    expect(outcome('orders', { ok: false, steps })).toBe(
      'orders cannot be reached: connect: timed out. Is the VPN up?',
    );
    const text = reportText('orders', { ok: false, steps });
    expect(text).toMatch(/✓ resolve +2 ms +10\.1\.2\.3/);
    expect(text).toMatch(/✗ connect +5000 ms +timed out\n +→ Is the VPN up\?/);
  });
});
