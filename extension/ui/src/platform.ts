import type { LogMessage } from '../../shared/src/protocol';
import type { Wire } from '../../shared/src/wire';

/** The differences between the desktop and the browser. */
export interface Platform {
  /** How the user approves: in modal dialogs of the editor, or at the helper itself. */
  readonly approvals: 'dialog' | 'helper';
  /** Starts the gateway helper, or connects to the one that runs. Rejects with a Trouble if the user can act. */
  gateway(options: GatewayOptions): Promise<Gateway>;
  /** Makes the next call of gateway pair by a code, even if there is a token; present in the browser. */
  readonly pairAnew?: () => void;
  /** Present if the editor can forward ports. Their traffic enters no JavaScript process. */
  readonly forward?: Forwarder;
}

export interface Forwarder {
  /** Forwards a port of the remote's loopback to one of ours. Returns the same port until forget. */
  open(port: number): Promise<Forwarded>;
  /** The forwarded port does not work: open asks the editor again. */
  forget(port: number): void;
}

/** A port on this machine's loopback, or why there is none. */
export type Forwarded = { port: number } | { why: string };

export interface GatewayOptions {
  /** Takes log messages from the helper's stderr. Notifications come over the wire. */
  log: (message: LogMessage) => void;
  /** The port of the helper that listens; for the browser only. */
  port: number;
  signal: AbortSignal;
}

export interface Gateway {
  wire: Wire;
  /** Proves to the helper that this editor is paired with it. */
  token?: string;
}
