import { l10n } from 'vscode';
import type { SessionState, Step } from '../../shared/src/session';
import { bytes, markdown, plain, sentence } from '../../shared/src/text';
import { shownState } from './resourceText';
import { clock, flows, resources } from './words';

/** The contents of the status bar's item. The tooltip is Markdown, in which only our own links are commands. */
export interface StatusText {
  /** Short, with an icon: the status bar has little room. */
  text: string;
  /** The state in words, for screen readers. */
  label: string;
  tooltip: string;
  /** Set if the user has to act. */
  color?: 'warning' | 'error';
}

const waits = (step: Step): string => {
  switch (step) {
    case 'gateway':
      return l10n.t('the helper on this machine');
    case 'companion':
      return l10n.t('the companion on the remote');
    case 'session':
      return l10n.t('the gateway');
    case 'capture':
      return l10n.t('the helper on the remote');
    case 'link':
      return l10n.t('the link between the helpers');
  }
};

export function statusText(state: SessionState, approvals: 'dialog' | 'helper'): StatusText {
  switch (state.kind) {
    case 'disconnected':
      return item(
        'debug-disconnect',
        '',
        l10n.t('disconnected'),
        [l10n.t('Not connected.')],
        ['connect', 'openSettings'],
      );
    case 'connecting': {
      if (state.approvals > 0) return waiting(state.approvals, approvals);
      const atHelper = state.step === 'session' && approvals === 'helper';
      const wait = atHelper ? l10n.t('an answer at the local helper') : waits(state.step);
      const summary = l10n.t('connecting, waiting for {0}', wait);
      return item('sync~spin', '', summary, [l10n.t('Connecting: waiting for {0}.', wait)], ['disconnect', 'showLog']);
    }
    case 'connected':
      return state.approvals > 0 ? waiting(state.approvals, approvals) : connected(state);
    case 'reconnecting':
      return item('sync~spin', '…', l10n.t('reconnecting'), reconnecting(state), ['connect', 'disconnect', 'showLog']);
    case 'disconnecting':
      return item('sync~spin', '', l10n.t('disconnecting'), [l10n.t('Disconnecting.')], []);
    case 'error': {
      const lines = [markdown(sentence(state.message))];
      return { ...item('error', '', l10n.t('error'), lines, ['connect', 'showLog']), color: 'error' };
    }
  }
}

function connected({ status }: Extract<SessionState, { kind: 'connected' }>): StatusText {
  const usable = status.resources.filter(({ state }) => state === 'ready' || state === 'trouble').length;
  const trouble = status.resources.filter((resource) => shownState(resource) === 'trouble').length;
  const ms = status.link === undefined ? undefined : Math.round(status.link.rttMillis);
  const lines = [
    status.link === undefined
      ? l10n.t('Connected.')
      : l10n.t('Connected by a {0} link, round trip {1} ms.', markdown(status.link.kind, 20), ms ?? 0),
    l10n.t('{0}, {1} from the remote, {2} to it.', flows(status.flows), bytes(status.bytesUp), bytes(status.bytesDown)),
  ];
  if (status.proxy) lines.push(l10n.t('Proxy on the remote: {0}', markdown(status.proxy, 60)));
  if (trouble > 0) lines.push(l10n.t('{0} with a problem: see the view Causeway.', resources(trouble)));
  for (const line of status.trouble ?? []) lines.push(`$(warning) ${markdown(line)}`);
  for (const note of status.notes ?? []) lines.push(`$(info) ${markdown(note)}`);
  const summary = l10n.t('connected ({0}, {1})', resources(usable), flows(status.flows));
  const text = `${usable}${ms === undefined ? '' : ` · ${ms} ms`}`;
  const actions = ['testResource', 'addResource', 'copyProxyAddress', 'disconnect'] as const;
  const shown = item(trouble > 0 ? 'warning' : 'plug', text, summary, lines, actions);
  return trouble > 0 ? { ...shown, color: 'warning' } : shown;
}

function reconnecting({ reason, delayMs, waits }: Extract<SessionState, { kind: 'reconnecting' }>): string[] {
  return [
    markdown(sentence(reason)),
    ...(waits ? [l10n.t('Lost at {0}. Open connections wait until {1}.', clock(waits.since), clock(waits.until))] : []),
    delayMs > 0 ? l10n.t('The next attempt is in {0} s.', Math.ceil(delayMs / 1000)) : l10n.t('Trying now.'),
  ];
}

function waiting(n: number, approvals: 'dialog' | 'helper'): StatusText {
  const atHelper = approvals === 'helper';
  const summary = atHelper ? l10n.t('waiting for approval at the local helper') : l10n.t('waiting for approval');
  const line = atHelper
    ? l10n.t('{0} to approve at the local helper.', resources(n))
    : l10n.t('{0} to approve.', resources(n));
  const actions = atHelper ? (['disconnect'] as const) : (['reviewApprovals', 'disconnect'] as const);
  return { ...item('shield', l10n.t('{0} to approve', n), summary, [line], actions), color: 'warning' };
}

/** The commands that links in tooltips may execute, with their icons. */
const LINKS = {
  connect: 'plug',
  disconnect: 'debug-disconnect',
  openSettings: 'gear',
  showLog: 'output',
  reviewApprovals: 'shield',
  testResource: 'beaker',
  addResource: 'add',
  copyProxyAddress: 'copy',
} as const;

const titles = (): Record<keyof typeof LINKS, string> => ({
  connect: l10n.t('Connect'),
  disconnect: l10n.t('Disconnect'),
  openSettings: l10n.t('Settings'),
  showLog: l10n.t('Log'),
  reviewApprovals: l10n.t('Review'),
  testResource: l10n.t('Test'),
  addResource: l10n.t('Add'),
  copyProxyAddress: l10n.t('Copy Proxy Address'),
});

function item(
  icon: string,
  text: string,
  summary: string,
  lines: string[],
  actions: readonly (keyof typeof LINKS)[],
): StatusText {
  const names = titles();
  const links = actions.map((id) => `[$(${LINKS[id]}) ${names[id]}](command:causeway.${id})`).join(' · ');
  return {
    text: `$(${icon}) Causeway${text === '' || text === '…' ? text : `: ${text}`}`,
    label: plain(`Causeway: ${summary}`),
    tooltip: ['**Causeway**', ...lines, ...(links === '' ? [] : [links])].join('\n\n'),
  };
}

/** The commands that links in tooltips may execute. */
export const TOOLTIP_COMMANDS = Object.keys(LINKS).map((id) => `causeway.${id}`);
