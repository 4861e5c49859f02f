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
