import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Approval, GatewayStatus, Health, ResourceStatus } from '../../../shared/src/protocol';
import type { SessionState } from '../../../shared/src/session';
import { actionsFor } from '../../../ui/src/actions';
import { approvalsText, approvalText } from '../../../ui/src/approvalText';
import { explain } from '../../../ui/src/socketText';
import { statusText } from '../../../ui/src/statusText';
import { allOutcome, outcome, reportText } from '../../../ui/src/testText';
import { type Node, treeModel } from '../../../ui/src/treeModel';
import { l10n } from '../../vscode';

const english = l10n.t;

/** Translates each text to its arguments alone, in brackets. */
const pseudo = (_: string, ...args: (string | number)[]) => `⟦${args.join(' ')}⟧`;

/** Returns the words that are not translated. The data of this test is in capitals. */
const left = (text: string) =>
  (
    text
      .replace(/\$\([a-z-]+(?:~spin)?\)/g, '')
      .replace(/\(command:[\w.]+\)/g, '')
      .match(/[A-Za-z]{2,}/g) ?? []
  ).filter((word) => !/^(Causeway|[A-Z]+|KiB|MiB|ms|pid)$/.test(word));

const resource: ResourceStatus = {
  name: 'NAME',
  host: 'HOST',
  as: 'ALIAS',
  ports: ['80'],
  programs: ['PROGRAM'],
  from: 'user',
  state: 'ready',
  served: ['HOST:80', 'proxy', 'tun'],
  address: '127.0.0.2',
  note: 'NOTE',
  flows: 1,
  bytesUp: 0,
  bytesDown: 0,
  lastError: { time: '', code: 'CODE', reason: 'REASON' },
  clients: [{ user: '', flows: 1 }],
};
const states = ['ready', 'pending', 'denied', 'trouble'] as const;
const times = { since: '2026-01-02T03:04:05Z', checked: '2026-01-02T03:04:05Z', detail: 'DETAIL', hint: 'HINT' };
const healths: Health[] = [
  { state: 'works', step: 'connect', millis: 1, ...times },
  { state: 'unknown', ...times },
  ...['resolve', 'judge', 'connect'].map((step): Health => ({ state: 'fails', step, ...times })),
];
const status: GatewayStatus = {
  state: 'connected',
  flows: 2,
  bytesUp: 0,
  bytesDown: 0,
  proxy: 'PROXY',
  link: { kind: 'DIRECT', rttMillis: 1 },
  trouble: ['TROUBLE'],
  resources: [
    ...states.map((state) => ({ ...resource, state, name: state.toUpperCase() })),
    ...healths.map((health) => ({ ...resource, health, name: `${health.state}${health.step}`.toUpperCase() })),
  ],
};
const sessions: SessionState[] = [
  { kind: 'disconnected' },
  { kind: 'connecting', step: 'companion', approvals: 0, attempt: 0 },
  { kind: 'connecting', step: 'session', approvals: 1, attempt: 0 },
  { kind: 'connected', status, approvals: 0 },
  {
    kind: 'reconnecting',
    reason: 'REASON',
    attempt: 1,
    delayMs: 5,
    approvals: 0,
    waits: { since: 0, until: 1 },
    status,
  },
  { kind: 'disconnecting' },
  { kind: 'error', message: 'MESSAGE' },
];
const approval: Approval = {
  id: 'x',
  from: 'workspace',
  name: 'NAME',
  host: 'HOST',
  ports: ['80'],
  protocols: ['TCP'],
  addresses: ['10.0.0.0/8'],
  as: 'ALIAS',
  exit: 'EXIT',
  programs: ['PROGRAM'],
  description: 'DESCRIPTION',
  change: 'changed',
  differences: [{ field: 'PORTS', was: '', is: '80' }],
};
const identity = { authority: 'A', workspace: 'W', remoteLabel: 'R', workspaceLabel: 'W', lasting: true };

beforeEach(() => {
  l10n.t = pseudo;
});
afterEach(() => {
  l10n.t = english;
});

describe('a translation reaches every word', () => {
  it.each(sessions)('of the status bar and its actions: $kind', (state) => {
    for (const approvals of ['dialog', 'helper'] as const) {
      const { text, label, tooltip } = statusText(state, approvals);
      expect(left([text, label, tooltip].join('\n'))).toEqual([]);
    }
    expect(
      left(
        actionsFor(state, true)
          .map(({ label }) => label)
          .join('\n'),
      ),
    ).toEqual([]);
  });

  it.each(sessions)('of the tree: $kind', (state) => {
    const all = (nodes: Node[]): Node[] => nodes.flatMap((node) => [node, ...all(node.children)]);
    for (const { label, description, tooltip, spoken } of all(treeModel(state, []))) {
      expect(left([label, description, tooltip, spoken].join('\n').replace(/\b(undefined|user)\b/g, ''))).toEqual([]);
    }
  });

  it('of the questions for approval', () => {
    for (const { message, detail } of [
      approvalText(approval, identity),
      approvalsText([approval, approval], identity),
    ]) {
      expect(left(`${message}\n${detail}`)).toEqual([]);
    }
  });

  it('of a test, and of a socket that fails', () => {
    const steps = [{ step: 'STEP', ok: false, detail: 'DETAIL', hint: 'HINT', millis: 1 }];
    const texts = [true, false].flatMap((ok) => [outcome('NAME', { ok, steps }), reportText('NAME', { ok, steps })]);
    texts.push(allOutcome(status).text, allOutcome({ ...status, resources: [] }).text);
    for (const access of ['granted', 'denied', 'prompt', 'unknown'] as const) texts.push(explain(access, true, 1));
    expect(left([...texts, explain('granted', false, 1)].join('\n'))).toEqual([]);
  });
});
