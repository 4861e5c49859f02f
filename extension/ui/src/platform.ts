import type { LogMessage } from '../../shared/src/protocol';
import type { Wire } from '../../shared/src/wire';

/** What differs between the desktop and the browser. */
export interface Platform {
  /** Where approvals are asked for: by our own modal dialogs, or by the helper at its terminal. */
  readonly approvals: 'dialog' | 'terminal';
  /** Starts the gateway helper, or reaches the one that runs. Rejects with a Trouble if the user can help. */
  gateway(options: GatewayOptions): Promise<Gateway>;
  /** Where the editor can forward ports: none of their traffic enters a JavaScript process. */
  readonly forward?: Forwarder;
}

export interface Forwarder {
  /** Makes a port of the remote's loopback one of ours, always the same until that is forgotten. */
  open(port: number): Promise<Forwarded>;
  /** What was made of port is of no use. */
  forget(port: number): void;
}

/** A port of this machine's loopback, or why there is none. */
export type Forwarded = { port: number } | { why: string };

export interface GatewayOptions {
  /** Takes what the helper says on its stderr; what it says by notification comes on the wire. */
  log: (message: LogMessage) => void;
  /** The port of a helper that listens; the browser only. */
  port: number;
  signal: AbortSignal;
}

export interface Gateway {
  wire: Wire;
  /** Proves to a helper that listens that this editor was paired with it. */
  token?: string;
}
