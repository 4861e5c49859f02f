import type { Client, ClientParams, GatewayStatus, Problem, ResourceStatus } from '../../shared/src/protocol';
import { bytes, count, markdown, plain } from '../../shared/src/text';
import { problemText } from './problems';

/** One line of the view. */
export interface Node {
  id: string;
  label: string;
  description?: string;
  /** Markdown without commands. */
  tooltip?: string;
  icon: string;
  color?: string;
  /** Given when the line is a resource. */
  resource?: ResourceStatus;
  /** Given when the line is a program that has flows: its command line is asked for when it is looked at. */
  client?: ClientParams;
  /** A mistake in the settings: a click opens them. */
  mistake?: boolean;
  children: Node[];
}

const ICONS: Record<ResourceStatus['state'], { icon: string; color: string }> = {
  ready: { icon: 'pass-filled', color: 'testing.iconPassed' },
  pending: { icon: 'shield', color: 'notificationsWarningIcon.foreground' },
  denied: { icon: 'circle-slash', color: 'disabledForeground' },
  trouble: { icon: 'warning', color: 'notificationsWarningIcon.foreground' },
};

const STATES: Record<ResourceStatus['state'], string> = {
  ready: 'ready',
  pending: 'waiting for approval',
  denied: 'denied',
  trouble: 'trouble',
};

/** The lines of the view for a session: mistakes first, then the resources, then what the capture says. */
export function treeModel(status: GatewayStatus | undefined, problems: Problem[]): Node[] {
  if (status === undefined) return [];
  return [
    ...[...new Set(problems.map(problemText))].map(
      (text): Node => ({
        id: `problem:${text}`,
        label: text,
        tooltip: markdown(text),
        icon: 'error',
        color: 'notificationsErrorIcon.foreground',
        mistake: true,
        children: [],
      }),
    ),
    ...status.resources.map(resourceNode),
    ...[...new Set(status.notes)].map((note) => noteNode('note', note)),
  ];
}

/**
 * What a resource shows as. A domain or a network has no address of its own on
 * the remote: that it is reached through the proxy alone is no trouble, unless another way is asked for.
 */
export function shownState({ state, host, served, note }: ResourceStatus): ResourceStatus['state'] {
  const asked = note?.includes(' is on, and cannot be had: ');
  return state === 'trouble' && /[*/]/.test(host) && served.includes('proxy') && !asked ? 'ready' : state;
}

/** What a user types on the remote to reach it, or undefined while it cannot be reached. */
export function addressOf(resource: ResourceStatus): string | undefined {
  const { host, served } = resource;
  const place = served.find((one) => one !== 'proxy' && one !== 'tun');
  if (place === undefined && served.includes('tun')) return host.includes('/') ? undefined : host;
  return place ?? resource.address;
}

function resourceNode(resource: ResourceStatus): Node {
  const id = `resource:${resource.from}:${resource.name}`;
  const { icon, color } = ICONS[shownState(resource)];
  const traffic = `${count(resource.flows, 'open flow')}, ${bytes(resource.bytesUp)} up, ${bytes(resource.bytesDown)} down`;
  return {
    id,
    label: plain(resource.name, 80),
    description: description(resource),
    tooltip: tooltip(resource, traffic),
    icon,
    color,
    resource,
    children: [
      ...(resource.note ? [noteNode(id, resource.note)] : []),
      ...resource.served.map(
        (served): Node => ({ id: `${id}:served:${served}`, label: servedText(served), icon: 'plug', children: [] }),
      ),
      { id: `${id}:traffic`, label: traffic, icon: 'arrow-swap', children: [] },
      ...(resource.clients ?? []).map((client) => clientNode(id, resource.name, client)),
      ...(resource.lastError ? [errorNode(id, resource.lastError)] : []),
    ],
  };
}

function description(resource: ResourceStatus): string {
  if (resource.state === 'pending' || resource.state === 'denied') return STATES[resource.state];
  const address = addressOf(resource);
  const flows = resource.flows > 0 ? [count(resource.flows, 'flow')] : [];
  const way = resource.served.includes('tun') ? 'by address' : 'through the proxy';
  return [address === undefined ? way : plain(address, 120), ...flows].join(' · ');
}

function tooltip(resource: ResourceStatus, traffic: string): string {
  const lines = [
    `**${markdown(resource.name)}**: ${STATES[shownState(resource)]}`,
    `${markdown(resource.as ? `${resource.as} → ${resource.host}` : resource.host)}, ports ${markdown(resource.ports.join(', '))}`,
  ];
  if (resource.programs?.length) lines.push(`Only for ${markdown(resource.programs.join(', '), 1000)}`);
  if (resource.address) lines.push(`Address on the remote: ${markdown(resource.address)}`);
  lines.push(traffic);
  if (resource.note) lines.push(markdown(resource.note));
  if (resource.lastError) lines.push(`Last error: ${markdown(errorLine(resource.lastError))}`);
  lines.push(resource.from === 'workspace' ? 'Asked for by the workspace' : 'From your settings');
  return lines.join('\n\n');
}

function servedText(served: string): string {
  if (served === 'tun') return "reachable over the remote's TUN device";
  return served === 'proxy' ? 'reachable through the proxy' : `reachable at ${plain(served, 120)}`;
}

function errorNode(id: string, error: NonNullable<ResourceStatus['lastError']>): Node {
  const text = errorLine(error);
  return {
    id: `${id}:error`,
    label: `last error: ${plain(text)}`,
    tooltip: markdown(text),
    icon: 'error',
    children: [],
  };
}

/** What a program's line shows when it is looked at. */
export function commandLine(told: string): string {
  return told === '' ? 'Its command line cannot be told.' : markdown(told, 2100);
}

function clientNode(parent: string, resource: string, { user, pid, program, flows }: Client): Node {
  const name = program ? plain(program, 100) : 'a program';
  const of = [...(pid ? [`pid ${pid}`] : []), ...(user ? [plain(user, 100)] : [])].join(', ');
  return {
    id: `${parent}:client:${user}:${pid ?? 0}:${program ?? ''}`,
    label: `${name}${of ? ` (${of})` : ''}: ${count(flows, 'flow')}`,
    icon: 'terminal',
    ...(pid ? { client: { resource, pid } } : {}),
    children: [],
  };
}

function errorLine({ time, code, reason }: NonNullable<ResourceStatus['lastError']>): string {
  const at = new Date(time);
  const clock = Number.isNaN(at.getTime()) ? '' : ` (${at.toLocaleTimeString()})`;
  return `${code}: ${reason}${clock}`;
}

function noteNode(parent: string, note: string): Node {
  return { id: `${parent}:${note}`, label: plain(note), tooltip: markdown(note, 1000), icon: 'info', children: [] };
}
