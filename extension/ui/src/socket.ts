import { l10n } from 'vscode';
import { within } from '../../shared/src/wait';
import { type Access, explain } from './socketText';
import { Trouble } from './trouble';

const OPEN_MS = 60_000;

/** Connects to the helper that listens on this machine. Rejects with a Trouble that says what to do. */
export async function openSocket(port: number, signal: AbortSignal, path = '/'): Promise<WebSocket> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`);
  socket.binaryType = 'arraybuffer';
  const opened = new Promise<void>((resolve, reject) => {
    socket.onopen = () => resolve();
    socket.onerror = () => reject(new Error('no connection'));
  });
  try {
    // Meanwhile the browser may ask the user for permission.
    await within(opened, OPEN_MS, 'the local helper', signal);
    return socket;
  } catch (error) {
    socket.close();
    if (signal.aborted) throw error;
    const again = { title: l10n.t('Try Again'), command: 'causeway.connect' };
    throw new Trouble(explain(await localNetworkAccess(), globalThis.isSecureContext, port), [again], { cause: error });
  }
}

/** Returns the state of the browser's Local Network Access permission. */
async function localNetworkAccess(): Promise<Access> {
  // The browser asks a page from this machine for no permission.
  const local = /^https?:\/\/(localhost|127\.[\d.]+|\[::1\])(:|$)/.test(globalThis.origin);
  for (const name of ['loopback-network', 'local-network-access']) {
    try {
      const { state } = await navigator.permissions.query({ name: name as PermissionName });
      return local && state === 'prompt' ? 'granted' : state;
    } catch {
      // The browser does not know this name.
    }
  }
  return 'unknown';
}
