import { describe, expect, it } from 'vitest';
import type { Approval, GatewayStatus, ResourceStatus } from '../../../shared/src/protocol';
import type { SessionState } from '../../../shared/src/session';
import { bytes, markdown, plain, sentence } from '../../../shared/src/text';
import { approvalText } from '../../../ui/src/approvalText';
import { Problems, problemText } from '../../../ui/src/problems';
import { addressOf } from '../../../ui/src/resourceText';
import { statusText } from '../../../ui/src/statusText';
import { allOutcome } from '../../../ui/src/testText';
import { commandLine, treeModel } from '../../../ui/src/treeModel';

const EVIL = '](command:workbench.action.terminal.new) <b>\u202eevil\u0007\n# x $(trash)';

const resource: ResourceStatus = {
  name: 'orders',
  host: 'orders-db.corp.test',
  ports: ['5432'],
  from: 'user',
  state: 'ready',
  served: ['orders-db.corp.test:5432', 'proxy'],
  address: '127.77.3.4',
  flows: 2,
  bytesUp: 2048,
  bytesDown: 10,
};
const status = (resources: ResourceStatus[]): GatewayStatus => ({
  state: 'connected',
  link: { kind: 'command', rttMillis: 12.4 },
  flows: 2,
  bytesUp: 1,
  bytesDown: 2,
  proxy: '127.0.0.1:7750',
  resources,
  notes: ['served by another window'],
});

const up = (resources: ResourceStatus[]): SessionState => ({
  kind: 'connected',
  status: status(resources),
  approvals: 0,
});

describe('text', () => {
  it('shows what is invisible', () => {
    expect(plain('a\u202eb\n\u0007c')).toBe('a\\u202eb\\u000a\\u0007c');
    expect(plain('x'.repeat(400)).length).toBe(300);
  });

  it('leaves nothing of Markdown', () => {
    expect(markdown(EVIL)).not.toMatch(/(?<!\\)[[\]()<>#$]/);
  });

  it('makes whole sentences, whatever it is given', () => {
    expect(
      ['It covers all ports.', 'the helper is gone', 'Is the VPN up? ', 'wait…'].map((text) => sentence(text)),
    ).toEqual(['It covers all ports.', 'The helper is gone.', 'Is the VPN up?', 'Wait…']);
  });

  it('counts bytes', () => {
    expect([0, 1023, 1536, 12 << 20, 2 ** 60].map(bytes)).toEqual([
      '0 B',
      '1023 B',
      '1.5 KiB',
      '12 MiB',
      '1048576 TiB',
    ]);
  });
});

describe('statusText', () => {
  const states: [SessionState, string, string, string?][] = [
    [{ kind: 'disconnected' }, '$(debug-disconnect) Causeway', 'disconnected'],
    [
      { kind: 'connecting', step: 'companion', approvals: 0, attempt: 0 },
      '$(sync~spin) Causeway',
      'connecting, waiting for the companion on the remote',
    ],
    [
      { kind: 'connecting', step: 'capture', approvals: 1, attempt: 0 },
      '$(shield) Causeway: 1 to approve',
      'waiting for approval',
      'warning',
    ],
    [up([resource]), '$(plug) Causeway: 1 · 12 ms', 'connected (1 resource, 2 flows)'],
    [
      { ...up([resource]), approvals: 2 } as SessionState,
      '$(shield) Causeway: 2 to approve',
      'waiting for approval',
      'warning',
    ],
    [
      { kind: 'reconnecting', reason: 'r', attempt: 1, delayMs: 900, approvals: 0 },
      '$(sync~spin) Causeway…',
      'reconnecting',
    ],
    [{ kind: 'disconnecting' }, '$(sync~spin) Causeway', 'disconnecting'],
    [{ kind: 'error', message: 'm' }, '$(error) Causeway', 'error', 'error'],
  ];

  it.each(states)(
    'of %o is short, in words for a screen reader, and coloured if the user has to act',
    (state, text, label, color) => {
      expect(statusText(state, 'dialog')).toMatchObject({ text, label: `Causeway: ${label}` });
      expect(statusText(state, 'dialog').color).toBe(color);
    },
  );

  it('says why it is reconnecting, since when and until when', () => {
    const at = (time: number) => new Date(time).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
    const waits = { since: 1_000_000, until: 1_600_000 };
    const state: SessionState = {
      kind: 'reconnecting',
      reason: 'link gone',
      attempt: 1,
      delayMs: 0,
      approvals: 0,
      waits,
    };
    const { tooltip } = statusText(state, 'dialog');
    for (const part of ['Link gone\\.', at(waits.since), at(waits.until)]) expect(tooltip).toContain(part);
  });

  it('says where approvals are given in a browser', () => {
    const state: SessionState = { kind: 'connected', status: status([]), approvals: 1 };
    expect(statusText(state, 'helper').label).toContain('at the local helper');
    const session: SessionState = { kind: 'connecting', step: 'session', approvals: 0, attempt: 0 };
    expect(statusText(session, 'helper').label).toContain('at the local helper');
    expect(statusText(session, 'dialog').label).not.toContain('at the local helper');
  });

  it('escapes what others wrote', () => {
    const evil = { ...status([]), notes: [EVIL], proxy: EVIL };
    for (const state of [
      { kind: 'error', message: EVIL },
      { kind: 'connected', status: evil, approvals: 0 },
    ] as SessionState[]) {
      const links = [...statusText(state, 'dialog').tooltip.matchAll(/(?<!\\)\]\(command:(\S+?)\)/g)];
      expect(links.map((match) => match[1]).filter((id) => !id?.startsWith('causeway.'))).toEqual([]);
    }
  });

  it('warns of a resource in trouble', () => {
    const state: SessionState = {
      kind: 'connected',
      status: status([{ ...resource, state: 'trouble', note: 'port 5432 is taken' }]),
      approvals: 0,
    };
    expect(statusText(state, 'dialog')).toMatchObject({
      color: 'warning',
      text: '$(warning) Causeway: 1 · 12 ms',
      tooltip: expect.stringContaining('1 resource with a problem'),
    });
  });
});

describe('treeModel', () => {
  it('shows a resource with its address, its notes and its last error', () => {
    const lastError = { time: '2026-01-02T03:04:05Z', code: 'refused', reason: 'nobody listens' };
    const clients = [
      { user: 'dev', pid: 4711, program: 'psql', flows: 2 },
      { user: '', flows: 1 },
    ];
    const [node] = treeModel(up([{ ...resource, note: 'served by another window', lastError, clients }]), []);
    expect(node).toMatchObject({ label: 'orders', description: 'orders-db.corp.test:5432 · 2 flows' });
    const children = node?.children.map(({ label }) => label) ?? [];
    expect(children).toContain('served by another window');
    expect(children).toContain('reachable through the proxy');
    expect(children).toContain('psql (pid 4711, dev): 2 flows');
    expect(children).toContain('a program: 1 flow');
    const asked = node?.children.flatMap(({ client }) => (client === undefined ? [] : [client]));
    expect(asked).toEqual([{ resource: 'orders', pid: 4711 }]);
    expect(commandLine('psql "-h x" [a](command:b)')).toBe('psql "\\-h x" \\[a\\]\\(command\\:b\\)');
    expect(commandLine('')).toContain('cannot tell');
    expect(children.some((label) => label.startsWith('last error: refused: nobody listens'))).toBe(true);
  });

  it('shows mistakes first, notes last, and nothing without a session', () => {
    const nodes = treeModel(up([resource]), [{ path: 'resources[1]', message: 'has no host' }]);
    expect(nodes.map(({ label }) => label)).toEqual([
      'causeway.resources[1]: has no host',
      'orders',
      'served by another window',
    ]);
    expect(treeModel({ kind: 'disconnected' }, [])).toEqual([]);
  });

  it('is green only for what works', () => {
    const since = '2026-01-02T03:04:05Z';
    const bare = { ...resource, flows: 0 };
    const at = (health: ResourceStatus['health']) => treeModel(up([{ ...bare, health } as ResourceStatus]), [])[0];
    expect(at({ state: 'works', since, checked: since, millis: 2.4 })).toMatchObject({
      icon: 'pass-filled',
      spoken: expect.stringContaining('orders, works, '),
      tooltip: expect.stringMatching(/Works since .*3 ms/),
    });
    const lost = at({
      state: 'fails',
      step: 'resolve',
      detail: 'no such name',
      hint: 'Check it.',
      since,
      checked: since,
    });
    expect(lost).toMatchObject({
      icon: 'warning',
      description: 'does not resolve · orders-db.corp.test:5432',
      spoken: 'orders, does not resolve · orders-db.corp.test:5432',
      tooltip: expect.stringContaining('Check it'),
    });
    expect(lost?.children.some(({ label }) => /^Does not work since .*No such name\.$/.test(label))).toBe(true);
    expect(at({ state: 'fails', step: 'connect', since, checked: since })?.description).toContain('cannot be reached');
    expect(at({ state: 'fails', step: 'judge', since, checked: since })?.description).toContain('not allowed');
    const unknown = at({ state: 'unknown', since });
    expect(unknown).toMatchObject({
      icon: 'circle-large-outline',
      spoken: expect.stringContaining('not used or tested'),
    });
    expect(unknown).not.toHaveProperty('color');
  });

  it('says once what several resources have in common', () => {
    const since = '2026-01-02T03:04:05Z';
    const health = {
      state: 'fails',
      step: 'resolve',
      hint: 'Is the VPN on?',
      since,
      checked: since,
      common: true,
    } as const;
    const line = 'Is the VPN on? 2 resources do not resolve or answer.';
    const state: SessionState = {
      kind: 'connected',
      approvals: 0,
      status: {
        ...status([
          { ...resource, health },
          { ...resource, name: 'b', health },
        ]),
        trouble: [line, line],
      },
    };
    const nodes = treeModel(state, []);
    expect(nodes.map(({ label }) => label)).toEqual([line, 'orders', 'b', 'served by another window']);
    expect(nodes[1]?.tooltip).not.toContain('VPN');
    expect(statusText(state, 'dialog').tooltip).toContain('Is the VPN on?');
  });

  it('tells the sum of a test of all', () => {
    const since = '2026-01-02T03:04:05Z';
    const with_ = (name: string, state: 'unknown' | 'works' | 'fails') => ({
      ...resource,
      name,
      health: { state, since },
    });
    expect(allOutcome(status([with_('a', 'works'), with_('b', 'unknown')]))).toEqual({
      ok: true,
      text: 'The one resource that could be tested works.',
    });
    expect(allOutcome({ ...status([with_('a', 'works'), with_('b', 'fails')]), trouble: ['Why?'] })).toEqual({
      ok: false,
      text: '1 of 2 tested resources does not work: b. Why?',
    });
    expect(allOutcome(status([resource])).text).toContain('no resource');
  });

  it('gives every line an id of its own', () => {
    const all = treeModel(up([resource, { ...resource, from: 'workspace' }]), []);
    const ids = all.flatMap((node) => [node.id, ...node.children.map(({ id }) => id)]);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('says when only the proxy leads there', () => {
    const wildcard = { ...resource, host: '*.corp.test', served: ['proxy'], flows: 0 };
    const { address: _, ...bare } = wildcard;
    expect(treeModel(up([bare]), [])[0]?.description).toBe('through the proxy');
    const noted: ResourceStatus = { ...bare, state: 'trouble', note: 'no source captures it yet' };
    expect(treeModel(up([noted]), [])[0]?.icon).toBe('pass-filled');
    expect(statusText({ kind: 'connected', status: status([noted]), approvals: 0 }, 'dialog')).not.toHaveProperty(
      'color',
    );
    const asked: ResourceStatus = { ...noted, note: 'dns is on, and cannot be had: not writable' };
    expect(treeModel(up([asked]), [])[0]?.icon).toBe('warning');
    expect(addressOf(bare)).toBeUndefined();
  });

  it('copies the name of what is reached by name, by whatever way', () => {
    expect(addressOf({ ...resource, served: ['orders-db.corp.test:5432', 'tun', 'proxy'] })).toBe(
      'orders-db.corp.test:5432',
    );
  });

  it('says what is reached by address', () => {
    const { address: _, ...bare } = { ...resource, served: ['tun', 'proxy'], flows: 0 };
    const [network] = treeModel(up([{ ...bare, host: '10.20.0.0/16' }]), []);
    expect(network?.description).toBe('by address');
    expect(addressOf({ ...bare, host: '10.20.0.0/16' })).toBeUndefined();
    expect(addressOf({ ...bare, host: '10.20.0.7' })).toBe('10.20.0.7');
  });
});

describe('approvalText', () => {
  const identity = {
    authority: 'ssh-remote+h',
    workspace: 'w',
    remoteLabel: 'ssh-remote+h',
    workspaceLabel: 'shop',
    lasting: true,
  };
  const approval: Approval = {
    id: 'x',
    from: 'workspace',
    name: 'web',
    host: 'localhost',
    ports: ['3000', '15432:5432'],
    protocols: ['tcp'],
    as: 'laptop.causeway.internal',
    programs: ['psql', 'node'],
    change: 'changed',
    differences: [{ field: 'ports', was: '3000', is: '3000, 15432:5432' }],
    warnings: ['It covers all ports.', 'It reaches programs that listen on this machine for its own use.'],
  };

  it('says everything that the answer holds for', () => {
    const { message, detail } = approvalText(approval, identity);
    expect(message).toContain('localhost');
    for (const part of [
      'Ports: 3000, 15432:5432',
      'Protocols: tcp',
      'laptop.causeway.internal',
      'the settings of this workspace',
      'ssh-remote+h',
      'Workspace: shop',
      '⚠ It covers all ports.\n',
      '⚠ It reaches programs that listen on this machine for its own use.\n',
      'ports: 3000 → 3000, 15432:5432',
    ]) {
      expect(detail).toContain(part);
    }
  });

  it('has no line of ports for pings, which have none', () => {
    const { detail } = approvalText({ ...approval, ports: [], protocols: ['icmp'] }, identity);
    expect(detail).toContain('Protocols: icmp');
    expect(detail).not.toContain('Ports:');
  });

  it('cannot be given more lines or another direction', () => {
    const before = approvalText(approval, identity).detail.split('\n').length;
    const { message, detail } = approvalText({ ...approval, name: EVIL, host: EVIL, as: EVIL }, identity);
    expect(detail.split('\n').length).toBe(before);
    expect(message + detail).not.toContain('\u202e');
  });
});

describe('Problems', () => {
  const problem = (n: number) => ({ path: `resources[${n}].ports[0]`, message: 'is no port' });

  it('shows each mistake once, until it is gone and back', () => {
    const problems = new Problems();
    expect(problems.note([problem(0), problem(0)]).told).toEqual(['causeway.resources[0].ports[0]: is no port']);
    expect(problems.note([problem(0), problem(1)]).told).toEqual(['causeway.resources[1].ports[0]: is no port']);
    expect(problems.note([]).told).toEqual([]);
    expect(problems.note([problem(0)]).fresh.length).toBe(1);
  });

  it('sums up many', () => {
    const { told, fresh } = new Problems().note(Array.from({ length: 12 }, (_, i) => problem(i)));
    expect([told.length, fresh.length]).toEqual([5, 12]);
    expect(told[4]).toContain('8 more mistakes');
  });

  it('names the setting and the place', () => {
    expect(problemText({ path: 'causeway.workspaceResources[1]', line: 3, message: 'm' })).toBe(
      'causeway.workspaceResources[1] (line 3): m',
    );
    expect(problemText({ path: '', message: 'is no list' })).toBe('causeway.resources: is no list');
  });
});
