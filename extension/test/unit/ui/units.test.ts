import { describe, expect, it } from 'vitest';
import { isSources } from '../../../shared/src/bridge';
import { localPort } from '../../../ui/src/forward';
import { identify } from '../../../ui/src/identity';
import { entryOf, hostMistake, nameMistake, portsMistake } from '../../../ui/src/resourceEntry';
import { DEFAULTS, readResources, readSettings } from '../../../ui/src/settings';
import { explain } from '../../../ui/src/socketText';
import { outcome, reportText } from '../../../ui/src/testText';

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

describe('users', () => {
  it.each([
    ['everyone', 'everyone'],
    ['mine', 'mine'],
    [
      ['postgres', '_apt', 'postgres', 'CORP\\anna'],
      ['postgres', '_apt', 'CORP\\anna'],
    ],
    [undefined, 'auto'],
    [7, 'auto'],
    ['all', 'auto'],
    [['everyone'], 'mine'],
    [[], 'mine'],
    [['-x', 'a b', '', 7], 'mine'],
  ])('%j', (value, want) => {
    expect(readSettings(configuration({ users: value })).users).toEqual(want);
  });

  it('are at most 16', () => {
    const many = Array.from({ length: 20 }, (_, i) => `user-${i}`);
    expect(readSettings(configuration({ users: many })).users).toHaveLength(16);
  });
});

describe('settings', () => {
  it('of a wrong type count as not set', () => {
    const wrong = { autoConnect: 'yes', localHelperPort: 70_000, strictProxy: 1 };
    expect(readSettings(configuration(wrong))).toEqual(DEFAULTS);
    expect(readSettings(configuration({ sources: { tun: 'off', names: 'no', other: 'on' } })).sources).toEqual({
      ...DEFAULTS.sources,
      tun: 'off',
    });
    expect(readSettings(configuration({ localHelperPort: 9000 }))).toMatchObject({ localHelperPort: 9000 });
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

  it('lets no approval last for a folder that names no host, since that stands for every host', () => {
    expect(identify('ssh-remote', undefined, uri('vscode-vfs', 'github'), 'w')).toMatchObject({
      authority: 'ssh-remote',
      lasting: false,
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
    // An editor that a web server brings: the extension runs beside the folder.
    expect(identify('code.example:8443', undefined, uri('file', ''), 'w')).toMatchObject({
      authority: 'code.example:8443',
      lasting: true,
    });
    expect(identify('code.example:8443', undefined, undefined, undefined)).toMatchObject({ lasting: false });
    expect(identify('ssh-remote', undefined, uri('file', ''), 'w')).toMatchObject({ lasting: false });
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
    expect(nameMistake('localhost')).toBeUndefined();
    expect(entryOf(' localhost ', '3000, 8000-8010', 'laptop.internal')).toEqual({
      host: 'localhost',
      ports: [3000, '8000-8010'],
      as: 'laptop.internal',
    });
    expect(entryOf('x.test', '80', '')).toEqual({ host: 'x.test', ports: [80] });
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
      'orders cannot be reached: the step "connect" failed. Timed out. Is the VPN up?',
    );
    const text = reportText('orders', { ok: false, steps });
    expect(text).toMatch(/✓ resolve +2 ms +10\.1\.2\.3/);
    expect(text).toMatch(/✗ connect +5000 ms +timed out\n +→ Is the VPN up\?/);
  });
});
