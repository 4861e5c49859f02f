import type { Forwarded, Forwarder } from './platform';

/** What is looked at of a Uri. */
interface Address {
  scheme: string;
  authority: string;
  path: string;
}

/**
 * The port that env.asExternalUri has made of one of the remote's. It says
 * nothing of a failure: then it returns what it was given, which looks like a
 * port that kept its number. Whether something answers there is found out by
 * who connects.
 */
export function localPort({ scheme, authority, path }: Address): Forwarded {
  const [, port] = /^(?:localhost|127\.0\.0\.1):(\d{1,5})$/.exec(authority) ?? [];
  if (scheme !== 'http' || port === undefined || !/^\/?$/.test(path)) {
    return { why: `the editor offers ${scheme}://${authority}${path}, which is no port of this machine` };
  }
  return { port: Number(port) };
}

/** Asks the editor once for each port: it keeps what it makes until the window closes, and takes nothing back. */
export class Forwards implements Forwarder {
  private readonly made = new Map<number, Promise<Forwarded>>();

  /** externalize is the editor's asExternalUri, for a port of the remote's loopback. */
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
