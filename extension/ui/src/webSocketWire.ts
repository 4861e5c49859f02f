import 'vscode-jsonrpc/browser';
import type { Message } from 'vscode-jsonrpc';
import { within } from '../../shared/src/wait';
import type { Wire, WireSink } from '../../shared/src/wire';
import { Trouble } from './trouble';

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

type Access = PermissionState | 'unknown';

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
        '(“Apps on device” or “Local network access”), and try again.'
      );
    case 'prompt':
      return (
        'The browser has not been allowed to reach programs on this machine. Try again and answer its question ' +
        `with “Allow”; if it asks nothing, the local helper does not run: ${start}.`
      );
    default:
      return (
        `No local helper answers at 127.0.0.1:${port}. If it does not run, ${start}. If it does, it has refused this ` +
        'page: its terminal says why.'
      );
  }
}

/** The browser's Local Network Access permission, by the name that it knows. */
async function localNetworkAccess(): Promise<Access> {
  for (const name of ['loopback-network', 'local-network-access']) {
    try {
      return (await navigator.permissions.query({ name: name as PermissionName })).state;
    } catch {
      // The browser does not know the name.
    }
  }
  return 'unknown';
}

/** A helper that listens: text is JSON-RPC, binary is a link frame. */
export class WebSocketWire implements Wire {
  readonly exited: Promise<void>;
  private sink: WireSink | undefined;
  private early: MessageEvent[] = [];
  private over: string | undefined;

  constructor(private readonly socket: WebSocket) {
    socket.onerror = null;
    socket.onmessage = (event) => this.early.push(event);
    this.exited = new Promise((resolve) => {
      socket.onclose = (event) => {
        this.finish(event.reason || `the socket to it has closed (${event.code})`);
        resolve();
      };
    });
  }

  open(sink: WireSink): void {
    this.sink = sink;
    const deliver = ({ data }: MessageEvent) => {
      if (this.over !== undefined) return;
      if (typeof data !== 'string') {
        sink.frame(new Uint8Array(data as ArrayBuffer));
        return;
      }
      try {
        sink.message(JSON.parse(data) as Message);
      } catch {
        this.finish('it broke the protocol');
        this.close();
      }
    };
    this.socket.onmessage = deliver;
    this.early.splice(0).forEach(deliver);
    const { over } = this;
    if (over !== undefined) queueMicrotask(() => sink.end(over));
  }

  sendMessage(message: Message): Promise<void> {
    if (!this.writable) return Promise.reject(new Error('the helper is gone'));
    this.socket.send(JSON.stringify(message));
    return Promise.resolve();
  }

  sendFrame(bytes: Uint8Array): void {
    if (this.writable) this.socket.send(bytes as Uint8Array<ArrayBuffer>);
  }

  get backlog(): number {
    return this.socket.bufferedAmount;
  }

  /** A browser's socket cannot be paused; the helper's window bounds what comes. */
  pause(): void {}
  resume(): void {}

  close(): void {
    this.socket.close(1000);
  }

  private get writable(): boolean {
    return this.over === undefined && this.socket.readyState === 1;
  }

  private finish(reason: string): void {
    if (this.over !== undefined) return;
    this.over = reason;
    this.sink?.end(reason);
  }
}
