import { lookup } from 'node:dns/promises';
import { within } from '../../shared/src/wait';

const MOST = 100;
const LOOKUP_MS = 2_000;

/**
 * Returns those of the hosts that this machine cannot resolve. Any extension can call this with anything: a value that
 * is not a host name is left out, and so is all that exceeds MOST hosts.
 */
export async function unresolved(
  hosts: unknown,
  resolve: (host: string) => Promise<unknown> = lookup,
): Promise<string[]> {
  const names = (Array.isArray(hosts) ? hosts : [])
    .slice(0, MOST)
    .filter(
      (host): host is string => typeof host === 'string' && /^[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9])?$/i.test(host),
    );
  const missing = await Promise.all(
    names.map((host) =>
      within(resolve(host), LOOKUP_MS, 'the look-up').then(
        () => undefined,
        () => host,
      ),
    ),
  );
  return missing.filter((host) => host !== undefined);
}
