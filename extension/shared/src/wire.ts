import type { Message } from 'vscode-jsonrpc';

/** What arrives from a helper, in order. After end nothing more comes. */
export interface WireSink {
  message(message: Message): void;
  frame(bytes: Uint8Array): void;
  end(reason: string): void;
}

/** The pipe to a helper: JSON-RPC messages and opaque link frames, in order, both ways. */
export interface Wire {
  /** Begins to deliver; called once. */
  open(sink: WireSink): void;
  /** Resolves when the message was handed on; rejects once the wire has ended. */
  sendMessage(message: Message): Promise<void>;
  /** Takes bytes over: the caller must not change them any more. Dropped once the wire has ended. */
  sendFrame(bytes: Uint8Array): void;
  /** Bytes that were sent and that the helper has not taken yet. */
  readonly backlog: number;
  /** Stops and restarts delivery, as far as the pipe can: a WebSocket cannot. */
  pause(): void;
  resume(): void;
  /** Tells the helper that nothing more comes, whereupon it ends what it does for us. */
  close(): void;
  /** Lets go of the helper, where the session waits for whoever comes next. */
  leave(): void;
  /** Resolves when the helper is gone, or the socket to it. */
  readonly exited: Promise<void>;
}
