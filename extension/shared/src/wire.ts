import type { Message } from 'vscode-jsonrpc';

/** Takes what a helper sends, in order. end is the last call. */
export interface WireSink {
  message(message: Message): void;
  frame(bytes: Uint8Array): void;
  end(reason: string): void;
}

/** The pipe to a helper: JSON-RPC messages and opaque link frames, in order, both ways. */
export interface Wire {
  /** Begins to deliver; called once. */
  open(sink: WireSink): void;
  /** Resolves when the message has been passed on; rejects once the wire has ended. */
  sendMessage(message: Message): Promise<void>;
  /** Takes over bytes: the caller must not change them afterwards. Drops them once the wire has ended. */
  sendFrame(bytes: Uint8Array): void;
  /** Bytes sent that the helper has not read yet. */
  readonly backlog: number;
  /** Stops delivery, and resume restarts it. A WebSocket cannot do either. */
  pause(): void;
  resume(): void;
  /** Tells the helper that this driver has finished: the helper ends its session. */
  close(): void;
  /** Leaves the helper, where the session waits for the next driver. */
  leave(): void;
  /** Resolves when the helper, or the socket to it, is gone. */
  readonly exited: Promise<void>;
}
