import type { SessionState, Step } from '../../shared/src/session';
import { bytes, count, markdown, plain } from '../../shared/src/text';
import { shownState } from './treeModel';

/** What the status bar shows. The tooltip is Markdown in which only our own links are commands. */
export interface StatusText {
  text: string;
  /** For screen readers, and for tests. */
  label: string;
  tooltip: string;
  color?: 'warning' | 'error';
}

const WAITS: Record<Step, string> = {
  gateway: 'the local helper',
  companion: 'the companion',
  session: 'the gateway',
  capture: 'the remote helper',
  link: 'the link',
};

export function statusText(state: SessionState, approvals: 'dialog' | 'terminal'): StatusText {
  switch (state.kind) {
    case 'disconnected':
      return plainText('debug-disconnect', 'disconnected', ['Not connected.'], ['connect', 'openSettings']);
    case 'connecting': {
      if (state.approvals > 0) return waiting(state.approvals, approvals);
      const atTerminal = state.step === 'session' && approvals === 'terminal';
      const wait = atTerminal ? 'the local helper, whose terminal may be asking' : WAITS[state.step];
      return plainText(
        'sync~spin',
        `waiting for ${wait}`,
        [`Connecting: waiting for ${wait}.`],
        ['disconnect', 'showLog'],
      );
    }
    case 'connected': {
      if (state.approvals > 0) return waiting(state.approvals, approvals);
      return connected(state);
    }
    case 'reconnecting':
      return {
        ...plainText('sync~spin', 'reconnecting', reconnecting(state), ['connect', 'disconnect', 'showLog']),
        color: 'warning',
      };
    case 'disconnecting':
      return plainText('sync~spin', 'disconnecting', ['Disconnecting.'], []);
    case 'error':
      return {
        ...plainText('error', 'error', [markdown(state.message)], ['connect', 'showLog']),
        color: 'error',
      };
  }
}

function connected({ status }: Extract<SessionState, { kind: 'connected' }>): StatusText {
  const ready = status.resources.filter(({ state }) => state === 'ready' || state === 'trouble');
  const trouble = status.resources.filter((resource) => shownState(resource) === 'trouble').length;
  const lines = [
    `Connected${status.link ? ` by a ${markdown(status.link.kind, 20)} link, ${Math.round(status.link.rttMillis)} ms` : ''}.`,
    `${count(status.flows, 'flow')}, ${bytes(status.bytesUp)} from the remote, ${bytes(status.bytesDown)} to it.`,
  ];
  if (status.proxy) lines.push(`Proxy on the remote: ${markdown(status.proxy, 60)}`);
  if (trouble > 0) lines.push(`${count(trouble, 'resource')} in trouble.`);
  for (const note of status.notes ?? []) lines.push(`$(info) ${markdown(note)}`);
  const summary = `connected (${count(ready.length, 'resource')}, ${count(status.flows, 'flow')})`;
  const actions = ['testResource', 'addResource', 'copyProxyAddress', 'disconnect'];
  return { ...plainText('plug', summary, lines, actions), ...(trouble > 0 ? { color: 'warning' as const } : {}) };
}

function reconnecting({ reason, delayMs, waits }: Extract<SessionState, { kind: 'reconnecting' }>): string[] {
  const at = (time: number) => new Date(time).toLocaleTimeString();
  return [
    `${markdown(reason)}.`,
    ...(waits ? [`Lost at ${at(waits.since)}; open connections wait until ${at(waits.until)}.`] : []),
    delayMs > 0 ? `Trying again in ${Math.ceil(delayMs / 1000)} s.` : 'Trying now.',
  ];
}

function waiting(n: number, approvals: 'dialog' | 'terminal'): StatusText {
  const where = approvals === 'terminal' ? ' in the terminal of the local helper' : '';
  const line = `${count(n, 'resource')} ${n === 1 ? 'waits' : 'wait'} for your approval${where}.`;
  const actions = approvals === 'terminal' ? ['disconnect'] : ['reviewApprovals', 'disconnect'];
  return { ...plainText('shield', `waiting for approval${where}`, [line], actions), color: 'warning' };
}

const TITLES: Record<string, string> = {
  connect: '$(plug) Connect',
  disconnect: '$(debug-disconnect) Disconnect',
  openSettings: '$(gear) Settings',
  showLog: '$(output) Log',
  reviewApprovals: '$(shield) Review',
  testResource: '$(beaker) Test',
  addResource: '$(add) Add',
  copyProxyAddress: '$(copy) Proxy',
};

function plainText(icon: string, summary: string, lines: string[], actions: string[]): StatusText {
  const links = actions.map((id) => `[${TITLES[id]}](command:causeway.${id})`).join(' · ');
  return {
    text: `$(${icon}) Causeway: ${summary}`,
    label: plain(`Causeway: ${summary}`),
    tooltip: ['**Causeway**', ...lines, ...(links === '' ? [] : [links])].join('\n\n'),
  };
}

/** The commands that links in tooltips may execute. */
export const TOOLTIP_COMMANDS = Object.keys(TITLES).map((id) => `causeway.${id}`);
