import { describe, expect, it } from 'vitest';
import type { GatewayStatus } from '../../../shared/src/protocol';
import { backoff, INITIAL, isActive, reduce, type SessionEvent, type SessionState } from '../../../shared/src/session';

const status = (state: GatewayStatus['state'], flows = 0): GatewayStatus => ({
  state,
  flows,
  bytesUp: 0,
  bytesDown: 0,
  resources: [],
});
const run = (...events: SessionEvent[]): SessionState => events.reduce(reduce, INITIAL);
const up: SessionEvent = { type: 'status', status: status('connected') };

describe('reduce', () => {
  it('goes from connecting by its steps to connected', () => {
    expect(run({ type: 'connect' })).toEqual({ kind: 'connecting', step: 'gateway', approvals: 0, attempt: 0 });
    expect(run({ type: 'connect' }, { type: 'step', step: 'link' })).toMatchObject({ step: 'link' });
    expect(run({ type: 'connect' }, up)).toEqual({ kind: 'connected', status: status('connected'), approvals: 0 });
  });

  it('is not connected by a status that says waiting', () => {
    expect(run({ type: 'connect' }, { type: 'status', status: status('waiting') }).kind).toBe('connecting');
  });

  it('keeps the last status while it reconnects', () => {
    const lost = run({ type: 'connect' }, up, { type: 'lost', reason: 'r', retryMs: 5 });
    expect(lost).toMatchObject({ kind: 'reconnecting', status: status('connected') });
    const again = reduce(lost, { type: 'failed', message: 'm', retryMs: 5 });
    expect(again).toMatchObject({ kind: 'reconnecting', attempt: 2, status: status('connected') });
  });

  it('keeps what waits for approval from connecting on', () => {
    const state = run({ type: 'connect' }, { type: 'approvals', count: 2 }, up);
    expect(state).toMatchObject({ kind: 'connected', approvals: 2 });
    expect(reduce(state, { type: 'approvals', count: 0 })).toMatchObject({ approvals: 0 });
  });

  it('shows a failure, or tries again', () => {
    expect(run({ type: 'connect' }, { type: 'failed', message: 'm' })).toEqual({ kind: 'error', message: 'm' });
    const again = run({ type: 'connect' }, { type: 'failed', message: 'm', retryMs: 5 });
    expect(again).toEqual({ kind: 'reconnecting', reason: 'm', attempt: 1, delayMs: 5, approvals: 0 });
    expect(reduce(again, { type: 'connect' })).toMatchObject({ kind: 'reconnecting', attempt: 1, delayMs: 0 });
  });

  it('shows why a session ended, and connects again from there', () => {
    const lost = run({ type: 'connect' }, up, { type: 'lost', reason: 'r' });
    expect(lost).toEqual({ kind: 'error', message: 'r' });
    expect(reduce(lost, { type: 'connect' }).kind).toBe('connecting');
    expect(run({ type: 'connect' }, up, { type: 'lost', reason: 'r', retryMs: 9 })).toMatchObject({
      kind: 'reconnecting',
      attempt: 1,
    });
  });

  it('disconnects from every state', () => {
    expect(run({ type: 'connect' }, up, { type: 'disconnect' }).kind).toBe('disconnecting');
    expect(run({ type: 'connect' }, { type: 'disconnect' }, { type: 'closed' })).toEqual(INITIAL);
    expect(run({ type: 'connect' }, { type: 'failed', message: 'm' }, { type: 'disconnect' })).toEqual(INITIAL);
    expect(run({ type: 'disconnect' })).toBe(INITIAL);
  });

  it('leaves a state as it is on events that mean nothing in it', () => {
    const states = [
      INITIAL,
      run({ type: 'connect' }, { type: 'failed', message: 'm' }),
      run({ type: 'connect' }, { type: 'disconnect' }),
    ];
    const events: SessionEvent[] = [
      { type: 'step', step: 'link' },
      { type: 'approvals', count: 1 },
      up,
      { type: 'failed', message: 'x' },
      { type: 'lost', reason: 'x' },
    ];
    for (const state of states) for (const event of events) expect(reduce(state, event)).toBe(state);
    const connecting = run({ type: 'connect' });
    expect(reduce(connecting, { type: 'connect' })).toBe(connecting);
  });

  it('says when Disconnect makes sense', () => {
    expect(isActive(INITIAL)).toBe(false);
    expect(isActive(run({ type: 'connect' }))).toBe(true);
    expect(isActive(run({ type: 'connect' }, { type: 'failed', message: 'm' }))).toBe(false);
  });
});

describe('backoff', () => {
  it('grows to its maximum, less a jitter of at most a quarter', () => {
    expect([0, 1, 2, 3, 9].map((n) => backoff(n, 100, 1000, () => 0))).toEqual([100, 200, 400, 800, 1000]);
    expect(backoff(0, 100, 1000, () => 0.999)).toBeGreaterThanOrEqual(75);
    expect(backoff(1e9, 100, 1000, () => 0)).toBe(1000);
  });
});
