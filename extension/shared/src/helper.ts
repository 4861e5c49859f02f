import {
  AbstractMessageReader,
  AbstractMessageWriter,
  CancellationTokenSource,
  createMessageConnection,
  type DataCallback,
  Disposable,
  type Message,
  type MessageConnection,
  type NotificationType,
  type RequestType,
  type RequestType0,
} from 'vscode-jsonrpc';
import { Initialize, type InitializeResult, PROTOCOL } from './protocol';
import type { Wire } from './wire';

/** Events of a Helper besides replies. */
export interface HelperEvents {
  /** A frame of the open link, in order. */
  frame(bytes: Uint8Array): void;
  /** The helper is gone. Called once, as the last event, and never after close. */
  ended(reason: string): void;
}

class WireReader extends AbstractMessageReader {
  private callback: DataCallback | undefined;

  listen(callback: DataCallback): Disposable {
    this.callback = callback;
    return Disposable.create(() => {
      this.callback = undefined;
    });
  }

  deliver(message: Message): void {
    this.callback?.(message);
  }

  end(): void {
    this.fireClose();
  }
}

class WireWriter extends AbstractMessageWriter {
  constructor(private readonly wire: Wire) {
    super();
  }

  write(message: Message): Promise<void> {
    return this.wire.sendMessage(message);
  }

  end(): void {}
}

/** A helper at the other end of a wire: calls, notifications, frames. */
export class Helper {
  private readonly connection: MessageConnection;
  private over: string | undefined;

  constructor(
    readonly wire: Wire,
    private readonly events: HelperEvents,
  ) {
    const reader = new WireReader();
    const quiet = () => {};
    this.connection = createMessageConnection(reader, new WireWriter(wire), {
      error: quiet,
      warn: quiet,
      info: quiet,
      log: quiet,
    });
    this.connection.listen();
    wire.open({
      message: (message) => reader.deliver(message),
      frame: (bytes) => {
        if (this.over === undefined) this.events.frame(bytes);
      },
      end: (reason) => {
        if (this.finish(reason)) this.events.ended(reason);
      },
    });
  }

  /** Does the handshake, which comes before everything else. Rejects if the two sides have no version in common. */
  initialize(client: { name: string; version: string }, token?: string): Promise<InitializeResult> {
    return this.call(Initialize, { protocol: PROTOCOL, client, ...(token === undefined ? {} : { token }) });
  }

  /** Calls a method. Rejects with the helper's error, or with the reason why the helper is gone. */
  call<R>(type: RequestType0<R, void>): Promise<R>;
  call<P, R>(type: RequestType<P, R, void>, params: P, signal?: AbortSignal): Promise<R>;
  async call<P, R>(
    type: RequestType<P, R, void> | RequestType0<R, void>,
    params?: P,
    signal?: AbortSignal,
  ): Promise<R> {
    const cancellation = new CancellationTokenSource();
    const cancel = () => cancellation.cancel();
    if (signal?.aborted) cancel();
    signal?.addEventListener('abort', cancel);
    const args = params === undefined ? [] : [params];
    try {
      return await this.connection.sendRequest<R>(type.method, ...args, cancellation.token);
    } catch (error) {
      throw this.over === undefined ? error : new Error(`the helper is gone: ${this.over}`);
    } finally {
      signal?.removeEventListener('abort', cancel);
      cancellation.dispose();
    }
  }

  on<P>(type: NotificationType<P>, handler: (params: P) => void): void {
    this.connection.onNotification(type, handler);
  }

  /** Closes our side of the wire and waits until the helper has ended. Pending calls reject. Idempotent. */
  close(): Promise<void> {
    this.finish('it was told to end');
    this.wire.close();
    return this.wire.exited;
  }

  /** Like close, but the session stays at the helper for the next driver. */
  leave(): Promise<void> {
    this.finish('it was let go');
    this.wire.leave();
    return this.wire.exited;
  }

  private finish(reason: string): boolean {
    if (this.over !== undefined) return false;
    this.over = reason;
    this.connection.dispose();
    return true;
  }
}
