import { within } from '../../shared/src/wait';
import { type Access, explain } from './socketText';
import { Trouble } from './trouble';
import { WebSocketWire } from './webSocketWire';

const OPEN_MS = 60_000;
const AGAIN = { title: 'Try Again', command: 'causeway.connect' };

/** Connects to the helper that listens on this machine; rejects with what a user can do. */
export async function openSocket(port: number, signal: AbortSignal): Promise<WebSocketWire> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`);
  socket.binaryType = 'arraybuffer';
  const opened = new Promise<void>((resolve, reject) => {
    socket.onopen = () => resolve();
    socket.onerror = () => reject(new Error('no connection'));
  });
  try {
    // The browser may be asking the user for its permission meanwhile.
    await within(opened, OPEN_MS, 'the local helper', signal);
    return new WebSocketWire(socket);
  } catch (error) {
    socket.close();
    if (signal.aborted) throw error;
    throw new Trouble(explain(await localNetworkAccess(), globalThis.isSecureContext, port), [AGAIN], { cause: error });
  }
}

/** The browser's Local Network Access permission, by the name that it knows. */
async function localNetworkAccess(): Promise<Access> {
  // A page of this machine is asked for no permission, unless it is known to come from elsewhere.
  const local = /^https?:\/\/(localhost|127\.[\d.]+|\[::1\])(:|$)/.test(globalThis.origin);
  for (const name of ['loopback-network', 'local-network-access']) {
    try {
      const { state } = await navigator.permissions.query({ name: name as PermissionName });
      return local && state === 'prompt' ? 'granted' : state;
    } catch {
      // The browser does not know the name.
    }
  }
  return 'unknown';
}
