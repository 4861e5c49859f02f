// The state of the connection to the remote, as the user sees it: one union, one
// pure transition function. Who drives it lives in ui/src/controller.ts.

import type { GatewayStatus } from './protocol';

/** What connecting waits for. */
export type Step = 'gateway' | 'companion' | 'session' | 'capture' | 'link';

export type SessionState =
  | { kind: 'disconnected'; reason?: string }
  | { kind: 'connecting'; step: Step; approvals: number; attempt: number }
  | { kind: 'connected'; status: GatewayStatus; approvals: number }
  /** since, until: when the session was lost and until when it waits, as Date.now has it; none without a session. */
  | {
      kind: 'reconnecting';
      reason: string;
      attempt: number;
      delayMs: number;
      approvals: number;
      waits?: { since: number; until: number };
    }
  | { kind: 'disconnecting' }
  | { kind: 'error'; message: string };

export type SessionEvent =
  /** The user, or a timer in reconnecting, wants a connection. */
  | { type: 'connect' }
  | { type: 'step'; step: Step }
  /** Number of resources that wait for the user's word. */
  | { type: 'approvals'; count: number }
  | { type: 'status'; status: GatewayStatus }
  /** Connecting failed; retryMs is set if it will be tried again by itself. */
  | { type: 'failed'; message: string; retryMs?: number }
  /** An established session ended, or waits to be resumed. */
  | { type: 'lost'; reason: string; retryMs?: number; waits?: { since: number; until: number } }
  | { type: 'disconnect' }
  | { type: 'closed' };

export const INITIAL: SessionState = { kind: 'disconnected' };

/** The state after event. An event that means nothing in a state leaves it as it is. */
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
      };
    case 'disconnect':
      if (state.kind === 'disconnected') return state;
      return state.kind === 'error' ? { kind: 'disconnected' } : { kind: 'disconnecting' };
    case 'closed':
      return state.kind === 'disconnecting' ? { kind: 'disconnected' } : state;
  }
}

/** Whether a connection exists or is sought, so that Disconnect makes sense. */
export function isActive({ kind }: SessionState): boolean {
  return kind === 'connecting' || kind === 'connected' || kind === 'reconnecting' || kind === 'disconnecting';
}

/** Delay before attempt n (from 0) at something, growing from base to max, with a jitter of a quarter. */
export function backoff(attempt: number, base: number, max: number, random: () => number = Math.random): number {
  const delay = Math.min(max, base * 2 ** Math.min(attempt, 30));
  return Math.round(delay * (1 - random() / 4));
}
