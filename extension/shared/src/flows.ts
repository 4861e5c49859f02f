// The part of the protocol that the panel uses: flows, questions and refusals. Its Go form
// is helper/internal/rpc/flows.go.

import { NotificationType, RequestType0 } from 'vscode-jsonrpc';

/** How many rows the helper keeps; the panel keeps as many. */
export const MAX_QUESTIONS = 500;
export const MAX_REFUSALS = 200;

/** The changes since the delta before it. */
export interface FlowsDelta {
  /** By the helper's clock. */
  time: string;
  /** Forget everything that was told before. */
  reset?: boolean;
  link?: { kind: string; links?: number; rttMillis: number };
  /** Of the whole session. */
  bytesUp: number;
  bytesDown: number;
  /** New flows, and those that changed in more than their counts. */
  flows?: Flow[];
  /** id, bytesUp and bytesDown of flows that have only moved bytes. */
  counts?: [number, number, number][];
  /** ids of flows that the helper has forgotten. */
  gone?: number[];
  questions?: Question[];
  /** New refusals, and those that have happened again. */
  refusals?: Refused[];
}

/** Takes each delta; undefined: nobody does. */
export type FlowsListener = ((delta: FlowsDelta) => void) | undefined;

/** The program on the remote that asks, as the remote reports it. */
export interface Origin {
  /** The way on the remote: "names", "tun", "socks" and others. */
  way: string;
  user?: string;
  pid?: number;
  program?: string;
}

/** A connection, UDP exchange or ping. The steps are in ms since began; absent: not reached. */
export interface Flow extends Origin {
  id: number;
  began: string;
  network: string;
  host: string;
  port?: number;
  /** The address that the gateway has dialled. */
  address?: string;
  resource: string;
  state: 'opening' | 'open' | 'closed' | 'failed';
  code?: string;
  reason?: string;
  bytesUp: number;
  bytesDown: number;
  lookedUp?: number;
  judged?: number;
  dialled?: number;
  firstByte?: number;
  ended?: number;
}

export interface Question extends Origin {
  id: number;
  time: string;
  name: string;
  /** Of the record, or "address". */
  type: string;
  answer: string;
  /** The answer has records; otherwise it says why there are none. */
  ok: boolean;
  resource?: string;
  /** "cache" or an exit; absent: the resolver of the gateway's machine. */
  from?: string;
  millis: number;
}

export interface Refused extends Origin {
  id: number;
  /** Of the last time. */
  time: string;
  count: number;
  /** Also "lookup" and "dns". */
  network: string;
  host: string;
  port?: number;
  resource?: string;
  code: string;
  reason: string;
  /** A resource that would cover it, and is not approved. */
  waiting?: string;
}

/** A helper that does not have the method answers "method not found". */
export const SubscribeFlows = new RequestType0<null, void>('flows/subscribe');
export const UnsubscribeFlows = new RequestType0<null, void>('flows/unsubscribe');
export const FlowsChanged = new NotificationType<FlowsDelta>('flows/changed');
