// The state of the connection as the user sees it: one union and one pure
// transition function. ui/src/controller.ts drives it.

import type { GatewayStatus } from './protocol';

/** The part that an attempt to connect waits for. */
export type Step = 'gateway' | 'companion' | 'session' | 'capture' | 'link';

export type SessionState =
  | { kind: 'disconnected'; reason?: string }
  | { kind: 'connecting'; step: Step; approvals: number; attempt: number }
  | { kind: 'connected'; status: GatewayStatus; approvals: number }
  /** waits: when the session was lost and until when it waits (Date.now); absent if no session waits. */
  | {
      kind: 'reconnecting';
      reason: string;
      attempt: number;
      delayMs: number;
      approvals: number;
      waits?: { since: number; until: number };
      /** The last status of the session. */
      status?: GatewayStatus;
    }
  | { kind: 'disconnecting' }
  | { kind: 'error'; message: string };

export type SessionEvent =
  /** The user or the timer of reconnecting asks for a connection. */
  | { type: 'connect' }
  | { type: 'step'; step: Step }
  /** How many resources wait for approval. */
  | { type: 'approvals'; count: number }
  | { type: 'status'; status: GatewayStatus }
  /** Connecting failed. retryMs is set if the controller tries again by itself. */
  | { type: 'failed'; message: string; retryMs?: number }
  /** An established session ended, or waits to be resumed. */
  | { type: 'lost'; reason: string; retryMs?: number; waits?: { since: number; until: number } }
  | { type: 'disconnect' }
  | { type: 'closed' };

export const INITIAL: SessionState = { kind: 'disconnected' };

/** Returns the state after event. An event that has no meaning in a state changes nothing. */
export function reduce(state: SessionState, event: SessionEvent): SessionState {
  switch (event.type) {
    case 'connect':
      if (state.kind === 'reconnecting') return { ...state, delayMs: 0 };
      if (isActive(state)) return state;
      return { kind: 'connecting', step: 'gateway', approvals: 0, attempt: 0 };
    case 'step':
      return state.kind === 'connecting' ? { ...state, step: event.step } : state;
    case 'approvals':
      return 'approvals' in state ? { ...state, approvals: event.count } : state;
    case 'status':
      if (event.status.state !== 'connected') return state;
      if (!('approvals' in state)) return state;
      return { kind: 'connected', status: event.status, approvals: state.approvals };
    case 'failed':
      if (state.kind !== 'connecting' && state.kind !== 'reconnecting') return state;
      if (event.retryMs === undefined) return { kind: 'error', message: event.message };
      return {
        kind: 'reconnecting',
        reason: event.message,
        attempt: state.attempt + 1,
        delayMs: event.retryMs,
        approvals: 0,
        ...(state.kind === 'reconnecting' && state.waits ? { waits: state.waits } : {}),
        ...(state.kind === 'reconnecting' && state.status ? { status: state.status } : {}),
      };
    case 'lost':
      if (state.kind !== 'connected') return state;
      if (event.retryMs === undefined) return { kind: 'error', message: event.reason };
      return {
        kind: 'reconnecting',
        reason: event.reason,
        attempt: 1,
        delayMs: event.retryMs,
        approvals: 0,
        ...(event.waits ? { waits: event.waits } : {}),
        status: state.status,
      };
    case 'disconnect':
      if (state.kind === 'disconnected') return state;
      return state.kind === 'error' ? { kind: 'disconnected' } : { kind: 'disconnecting' };
    case 'closed':
      return state.kind === 'disconnecting' ? { kind: 'disconnected' } : state;
  }
}

/** Whether there is something to disconnect: a connection or an attempt. */
export function isActive({ kind }: SessionState): boolean {
  return kind === 'connecting' || kind === 'connected' || kind === 'reconnecting' || kind === 'disconnecting';
}

/** Returns the delay before attempt n (from 0), in ms: it doubles from base up to max, minus up to a quarter at random. */
export function backoff(attempt: number, base: number, max: number, random: () => number = Math.random): number {
  const delay = Math.min(max, base * 2 ** Math.min(attempt, 30));
  return Math.round(delay * (1 - random() / 4));
}
