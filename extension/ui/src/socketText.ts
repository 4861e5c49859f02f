/** The browser's permission for a page to reach this machine. */
export type Access = 'granted' | 'denied' | 'prompt' | 'unknown';

/** What a socket's failure, of which scripts are told nothing, most likely means. */
export function explain(access: Access, secure: boolean, port: number): string {
  const start = `start it on this machine with "causeway gateway --listen 127.0.0.1:${port}"`;
  if (!secure) {
    return 'This page was not loaded by https, so the browser lets it reach no program on this machine. Open the editor by https.';
  }
  switch (access) {
    case 'denied':
      return (
        'The browser does not let this page reach programs on this machine. Allow it in the site settings of this page ' +
        `(“Apps on device” or “Local network access”), and try again. If it is allowed already, ${start}.`
      );
    case 'prompt':
      return (
        'The browser has not been allowed to reach programs on this machine. Try again and answer its question ' +
        `with “Allow”; if it asks nothing, the local helper does not run: ${start}.`
      );
    case 'granted':
    case 'unknown':
      return (
        `No local helper answers at 127.0.0.1:${port}. If it does not run, ${start}. If it does, it has refused this ` +
        'page: its terminal says why.'
      );
  }
}
