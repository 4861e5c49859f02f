import type { Helper } from '../../shared/src/helper';
import { LinkDial } from '../../shared/src/protocol';
import { errorText } from '../../shared/src/text';
import { within } from '../../shared/src/wait';
import type { Forwarded, Forwarder } from './platform';

/** The parts of a Uri that we read. */
interface Address {
  scheme: string;
  authority: string;
  path: string;
}

/**
 * Reads the local port from the result of env.asExternalUri. If forwarding fails,
 * the editor returns its argument, which looks like a port that kept its number.
 * Only a connection shows whether the port works.
 */
export function localPort({ scheme, authority, path }: Address): Forwarded {
  const [, port] = /^(?:localhost|127\.0\.0\.1):(\d{1,5})$/.exec(authority) ?? [];
  if (scheme !== 'http' || port === undefined || !/^\/?$/.test(path)) {
    return { why: `the editor offers ${scheme}://${authority}${path}, which is not a port of this machine` };
  }
  return { port: Number(port) };
}

/** Asks the editor once for each port: the editor keeps a forwarded port until the window closes. */
export class Forwards implements Forwarder {
  private readonly made = new Map<number, Promise<Forwarded>>();

  /** externalize is the editor's asExternalUri for a port on the remote's loopback. */
  constructor(private readonly externalize: (port: number) => PromiseLike<Address>) {}

  async open(port: number): Promise<Forwarded> {
    const known = this.made.get(port) ?? Promise.resolve(this.externalize(port)).then(localPort);
    this.made.set(port, known);
    try {
      const forwarded = await known;
      if ('why' in forwarded) this.forget(port);
      return forwarded;
    } catch (error) {
      this.forget(port);
      throw error;
    }
  }

  forget(port: number): void {
    this.made.delete(port);
  }
}

/**
 * Forwards a port of the remote within ms, and dials it. Resolves with the reason if that fails; the next call then
 * asks the editor for another port.
 */
export async function useForwarded(
  forward: Forwarder,
  port: number,
  dial: (to: { port: number }) => Promise<void>,
  ms: number,
): Promise<string | undefined> {
  try {
    const forwarded = await within(forward.open(port), ms, 'forwarding a port');
    if ('why' in forwarded) return forwarded.why;
    await dial(forwarded);
    return undefined;
  } catch (error) {
    forward.forget(port);
    return errorText(error);
  }
}

/** Has the gateway dial a forwarded port. It fails silently once the session is over. */
export async function dialLink(helper: Helper, to: { port: number }, over: () => boolean): Promise<void> {
  if (over()) return;
  await helper.call(LinkDial, to).catch((error: unknown) => {
    if (!over()) throw error;
  });
}
