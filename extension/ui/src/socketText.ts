import { l10n } from 'vscode';

/** The browser's permission for a page to reach this machine. */
export type Access = 'granted' | 'denied' | 'prompt' | 'unknown';

/** Returns the most likely cause of a socket's failure and what to do: the browser tells scripts no reason. */
export function explain(access: Access, secure: boolean, port: number): string {
  const start = l10n.t('start it on this machine with "causeway gateway --listen 127.0.0.1:{0}"', port);
  if (!secure) {
    return l10n.t(
      'The browser blocks access to programs on this machine, because this page was not loaded over https. Open the editor over https, or forward its port and open it at localhost.',
    );
  }
  switch (access) {
    case 'denied':
      return l10n.t(
        'The browser does not let this page reach programs on this machine. Allow "Apps on device" or "Local network access" in the site settings of this page, then try again. If it is allowed already, {0}.',
        start,
      );
    case 'prompt':
      return l10n.t(
        'The browser has not been allowed to reach programs on this machine. Try again and answer its question with "Allow". If it asks no question, the local helper is not running: {0}.',
        start,
      );
    case 'granted':
    case 'unknown':
      return l10n.t(
        'No local helper answers at 127.0.0.1:{0}. If it is not running, {1}. If it is running, it has refused this page: its terminal says why.',
        port,
        start,
      );
  }
}
