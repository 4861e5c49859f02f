import { l10n } from 'vscode';
import type { Client, ClientParams, Problem, ResourceStatus } from '../../shared/src/protocol';
import type { SessionState } from '../../shared/src/session';
import { bytes, markdown, plain, sentence } from '../../shared/src/text';
import { problemText } from './problems';
import { addressOf, endpointsOf, failure, healthLine, healthWord, shownState, stateWord } from './resourceText';
import { clock, flows } from './words';

/** One line of the view. */
export interface Node {
  id: string;
  label: string;
  description?: string;
  /** Markdown without commands. */
  tooltip?: string;
  icon: string;
  color?: string;
  /** The line in words, for screen readers; absent if label and description say it all. */
  spoken?: string;
  /** Set if the line is a resource. */
  resource?: ResourceStatus;
  /** The context value that the menus of the manifest match. */
  context?: string;
  /** Set if the line is a program that has flows: its command line is asked for when the user looks at the line. */
  client?: ClientParams;
  /** Set if the line is a mistake in the settings: a click opens them there. */
  mistake?: Problem;
  children: Node[];
}

const ICONS: Record<ResourceStatus['state'], { icon: string; color: string }> = {
  ready: { icon: 'pass-filled', color: 'testing.iconPassed' },
  pending: { icon: 'shield', color: 'notificationsWarningIcon.foreground' },
  denied: { icon: 'circle-slash', color: 'disabledForeground' },
  trouble: { icon: 'warning', color: 'notificationsWarningIcon.foreground' },
};

/** Only a resource that works is green. One that nobody has used or tested yet is neither green nor amber. */
function iconOf(resource: ResourceStatus): { icon: string; color?: string } {
  const state = shownState(resource);
  if (state !== 'ready' || resource.health === undefined) return ICONS[state];
  switch (resource.health.state) {
    case 'works':
      return ICONS.ready;
    case 'fails':
      return ICONS.trouble;
    case 'unknown':
      return { icon: 'circle-large-outline' };
  }
}

/** What several resources have in common that do not work. */
function troubleNode(text: string): Node {
  return {
    id: `trouble:${text}`,
    label: plain(text),
    tooltip: markdown(text, 1000),
    icon: 'warning',
    color: 'notificationsWarningIcon.foreground',
    children: [],
  };
}

/** Returns the lines of the view: mistakes first, then the resources, then the notes of the capture. */
export function treeModel(state: SessionState, problems: Problem[]): Node[] {
  switch (state.kind) {
    case 'connected':
      return [
        ...mistakes(problems),
        ...[...new Set(state.status.trouble)].map(troubleNode),
        ...state.status.resources.map(resourceNode),
        ...[...new Set(state.status.notes)].map((note) => noteNode('note', note)),
      ];
    case 'reconnecting': {
      const { status, waits } = state;
      const wait = waits ? l10n.t('waiting, until {0}', clock(waits.until)) : l10n.t('waiting for the connection');
      return (status?.resources ?? []).map((resource) => waitingNode(resource, wait));
    }
    case 'connecting':
      return mistakes(problems);
    case 'disconnected':
    case 'disconnecting':
    case 'error':
      return [];
  }
}

function mistakes(problems: Problem[]): Node[] {
  const byText = new Map(problems.map((problem) => [problemText(problem), problem]));
  return [...byText].map(([text, mistake]) => ({
    id: `problem:${text}`,
    label: text,
    tooltip: markdown(text),
    icon: 'error',
    color: 'notificationsErrorIcon.foreground',
    spoken: l10n.t('Mistake in the settings: {0}', text),
    mistake,
    children: [],
  }));
}

const idOf = ({ from, name }: ResourceStatus): string => `resource:${from}:${name}`;

function resourceNode(resource: ResourceStatus): Node {
  const id = idOf(resource);
  const state = shownState(resource);
  const { icon, color } = iconOf(resource);
  const traffic = l10n.t(
    '{0}, {1} up, {2} down',
    flows(resource.flows),
    bytes(resource.bytesUp),
    bytes(resource.bytesDown),
  );
  const line = description(resource);
  const word = healthWord(resource) ?? stateWord(state);
  const health = healthLine(resource);
  const kind = endpointsOf(resource).length > 0 ? 'host' : 'range';
  return {
    id,
    label: plain(resource.name, 80),
    description: line,
    tooltip: tooltip(resource, traffic),
    icon,
    ...(color === undefined ? {} : { color }),
    spoken: [plain(resource.name, 80), ...(failure(resource) ? [] : [word]), ...(line === word ? [] : [line])].join(
      ', ',
    ),
    resource,
    context: `resource.${resource.from}.${resource.state}.${kind}`,
    children: [
      ...(resource.note ? [noteNode(id, resource.note)] : []),
      ...(health === undefined ? [] : [{ id: `${id}:health`, label: plain(health), icon: 'pulse', children: [] }]),
      ...resource.served.map(
        (served): Node => ({ id: `${id}:served:${served}`, label: servedText(served), icon: 'plug', children: [] }),
      ),
      { id: `${id}:traffic`, label: traffic, icon: 'arrow-swap', children: [] },
      ...(resource.clients ?? []).map((client) => clientNode(id, resource.name, client)),
      ...(resource.lastError ? [errorNode(id, resource.lastError)] : []),
    ],
  };
}

/** The line of a resource while its session waits for a link. */
function waitingNode(resource: ResourceStatus, wait: string): Node {
  const label = plain(resource.name, 80);
  return {
    id: idOf(resource),
    label,
    description: wait,
    icon: 'sync',
    color: 'disabledForeground',
    spoken: `${label}, ${wait}`,
    resource,
    context: `resource.${resource.from}.waiting`,
    children: [],
  };
}

function description(resource: ResourceStatus): string {
  if (resource.state === 'pending' || resource.state === 'denied') return stateWord(resource.state);
  const address = addressOf(resource);
  const open = resource.flows > 0 ? [flows(resource.flows)] : [];
  const way = resource.served.includes('tun') ? l10n.t('by address') : l10n.t('through the proxy');
  const failed = failure(resource);
  const reason = failed === undefined ? [] : [failed];
  return [...reason, address === undefined ? way : plain(address, 120), ...open].join(' · ');
}

function tooltip(resource: ResourceStatus, traffic: string): string {
  const host = markdown(resource.as ? `${resource.as} → ${resource.host}` : resource.host);
  const lines = [
    `**${markdown(resource.name)}**: ${failure(resource) ?? healthWord(resource) ?? stateWord(shownState(resource))}`,
    resource.ports.length === 0 ? host : l10n.t('{0}, ports {1}', host, markdown(resource.ports.join(', '))),
  ];
  if (resource.programs?.length) lines.push(l10n.t('Only for {0}', markdown(resource.programs.join(', '), 1000)));
  if (resource.address) lines.push(l10n.t('Address on the remote: {0}', markdown(resource.address)));
  const health = healthLine(resource);
  if (health !== undefined) lines.push(markdown(health, 1000));
  const { hint, common } = resource.health ?? {};
  if (hint && !common) lines.push(markdown(hint, 1000));
  lines.push(traffic);
  if (resource.note) lines.push(markdown(resource.note));
  if (resource.lastError) lines.push(l10n.t('Last error: {0}', markdown(errorLine(resource.lastError))));
  lines.push(origin(resource));
  return lines.join('\n\n');
}

function origin({ from }: ResourceStatus): string {
  switch (from) {
    case 'user':
      return l10n.t('From your settings');
    case 'workspace':
      return l10n.t('The workspace asks for it');
    case 'file':
      return l10n.t("From the list of the helper's command line");
  }
}

function servedText(served: string): string {
  if (served === 'tun') return l10n.t("reachable through the remote's TUN device");
  return served === 'proxy' ? l10n.t('reachable through the proxy') : l10n.t('reachable at {0}', plain(served, 120));
}

function errorNode(id: string, error: NonNullable<ResourceStatus['lastError']>): Node {
  const text = errorLine(error);
  return {
    id: `${id}:error`,
    label: l10n.t('last error: {0}', plain(text)),
    tooltip: markdown(text),
    icon: 'error',
    children: [],
  };
}

/** Returns the tooltip of a program's line, given its command line. */
export function commandLine(told: string): string {
  return told === '' ? l10n.t('The remote cannot tell the command line of this program.') : markdown(told, 2100);
}

function clientNode(parent: string, resource: string, { user, pid, program, flows: open }: Client): Node {
  const name = program ? plain(program, 100) : l10n.t('a program');
  const of = [...(pid ? [`pid ${pid}`] : []), ...(user ? [plain(user, 100)] : [])].join(', ');
  return {
    id: `${parent}:client:${user}:${pid ?? 0}:${program ?? ''}`,
    label: `${name}${of ? ` (${of})` : ''}: ${flows(open)}`,
    icon: 'terminal',
    ...(pid ? { client: { resource, pid } } : {}),
    children: [],
  };
}

function errorLine({ time, code, reason }: NonNullable<ResourceStatus['lastError']>): string {
  const at = new Date(time);
  const when = Number.isNaN(at.getTime()) ? '' : ` (${at.toLocaleTimeString()})`;
  return `${code}: ${reason}${when}`;
}

function noteNode(parent: string, note: string): Node {
  return {
    id: `${parent}:${note}`,
    label: plain(note),
    tooltip: markdown(sentence(note, 1000)),
    icon: 'info',
    children: [],
  };
}
