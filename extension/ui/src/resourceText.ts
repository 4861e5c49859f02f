import { l10n } from 'vscode';
import type { ResourceStatus } from '../../shared/src/protocol';
import { sentence } from '../../shared/src/text';
import { moment } from './words';

/**
 * Returns the state that a resource is shown in. A domain or a network has no address of its own on
 * the remote. If only the proxy reaches it, that is no problem, unless the settings ask for another way.
 */
export function shownState({ state, host, served, note }: ResourceStatus): ResourceStatus['state'] {
  const asked = / is on, (and|but) /.test(note ?? '');
  return state === 'trouble' && isRange({ host }) && served.includes('proxy') && !asked ? 'ready' : state;
}

/** Whether a resource is a domain or a network: it has no single host. */
export function isRange({ host }: Pick<ResourceStatus, 'host'>): boolean {
  return /[*/]/.test(host);
}

/** The state in words. */
export function stateWord(state: ResourceStatus['state']): string {
  switch (state) {
    case 'ready':
      return l10n.t('ready');
    case 'pending':
      return l10n.t('waiting for approval');
    case 'denied':
      return l10n.t('denied');
    case 'trouble':
      return l10n.t('problem');
  }
}

/** Returns in words why a resource does not work; undefined unless that is so. */
export function failure(resource: ResourceStatus): string | undefined {
  if (shownState(resource) !== 'ready' || resource.health?.state !== 'fails') return undefined;
  const { step } = resource.health;
  if (step === 'resolve') return l10n.t('does not resolve');
  return step === 'judge' ? l10n.t('not allowed at its address') : l10n.t('cannot be reached');
}

/** Returns the health in words; undefined if the state says it all. */
export function healthWord(resource: ResourceStatus): string | undefined {
  if (shownState(resource) !== 'ready' || resource.health === undefined) return undefined;
  switch (resource.health.state) {
    case 'works':
      return l10n.t('works');
    case 'fails':
      return failure(resource);
    case 'unknown':
      return l10n.t('ready, not used or tested yet');
  }
}

/** Returns the health with its reason and times; undefined if there was no test or connection yet. */
export function healthLine(resource: ResourceStatus): string | undefined {
  const { health } = resource;
  if (health?.checked === undefined) return undefined;
  const since = moment(Date.parse(health.since));
  const checked = moment(Date.parse(health.checked));
  const detail = health.detail ? sentence(health.detail, 300) : '';
  switch (health.state) {
    case 'works':
      return l10n
        .t('Works since {0}: {1} ms at {2}. {3}', since, Math.ceil(health.millis ?? 0), checked, detail)
        .trim();
    case 'fails':
      return l10n.t('Does not work since {0}, last tried at {1}. {2}', since, checked, detail).trim();
    case 'unknown':
      return detail === '' ? undefined : l10n.t('Not tested. {0}', detail);
  }
}

/** Returns the address that a user types on the remote; undefined while there is none. */
export function addressOf(resource: ResourceStatus): string | undefined {
  const { host, served } = resource;
  const place = served.find((one) => one !== 'proxy' && one !== 'tun');
  if (place === undefined && served.includes('tun')) return host.includes('/') ? undefined : host;
  return place ?? resource.address;
}

/** An address with a port that programs on the remote use. */
interface Endpoint {
  host: string;
  port: number;
}

/** Returns the host and each of the ports of a resource as the remote names them; none for a domain or a network. */
export function endpointsOf(resource: ResourceStatus): Endpoint[] {
  if (isRange(resource) || addressOf(resource) === undefined) return [];
  const host = resource.as ?? resource.host;
  return resource.ports.flatMap((text) => {
    const [, first, second] = /^(\d+)(?:[-:](\d+))?$/.exec(text) ?? [];
    const port = Number(first);
    // A range has no one port that a command could name, unless it is short.
    const last = second !== undefined && text.includes('-') ? Number(second) : port;
    return last - port > 9 ? [] : Array.from({ length: last - port + 1 }, (_, i) => ({ host, port: port + i }));
  });
}

const SERVICES: Record<number, { url: string; command: string }> = {
  22: { url: 'ssh://HOST:PORT', command: 'ssh -p PORT HOST' },
  80: { url: 'http://HOST/', command: 'curl http://HOST/' },
  443: { url: 'https://HOST/', command: 'curl https://HOST/' },
  1433: { url: 'sqlserver://HOST:PORT', command: 'sqlcmd -S HOST,PORT' },
  3306: { url: 'mysql://HOST:PORT/', command: 'mysql -h HOST -P PORT -u "$USER" -p' },
  5432: { url: 'postgresql://HOST:PORT/', command: 'psql -h HOST -p PORT' },
  5672: { url: 'amqp://HOST:PORT/', command: 'nc -vz HOST PORT' },
  6379: { url: 'redis://HOST:PORT/', command: 'redis-cli -h HOST -p PORT' },
  9092: { url: 'kafka://HOST:PORT', command: 'nc -vz HOST PORT' },
  27017: { url: 'mongodb://HOST:PORT/', command: 'mongosh --host HOST --port PORT' },
};

const fill = (text: string, { host, port }: Endpoint): string =>
  text.replace('HOST', host.includes(':') && text.includes('://') ? `[${host}]` : host).replace('PORT', String(port));

/** Returns a URL for programs on the remote. */
export function urlOf(endpoint: Endpoint): string {
  return fill(SERVICES[endpoint.port]?.url ?? 'http://HOST:PORT/', endpoint);
}

/** Returns a command for a terminal on the remote that reaches the resource. */
export function commandOf(endpoint: Endpoint): string {
  return fill(SERVICES[endpoint.port]?.command ?? 'nc -vz HOST PORT', endpoint);
}
