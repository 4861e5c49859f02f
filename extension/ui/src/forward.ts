import type { Forwarded } from './platform';

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
