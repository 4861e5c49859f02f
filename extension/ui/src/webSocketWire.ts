import type { Message } from 'vscode-jsonrpc';
import type { Wire, WireSink } from '../../shared/src/wire';

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

  /** The same as close: at the end of the socket the helper keeps the session waiting. */
  leave(): void {
    this.close();
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
