import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { GatewayStatus } from '../../../shared/src/protocol';
import type { Connection } from '../../../ui/src/connection';
import type { ConnectionEvents } from '../../../ui/src/connectionOptions';
import { Controller } from '../../../ui/src/controller';
import { Trouble } from '../../../ui/src/trouble';

const up: GatewayStatus = { state: 'connected', flows: 0, bytesUp: 0, bytesDown: 0, resources: [] };

/** A controller whose connections the test makes and breaks. */
function rig(persistent = false) {
  const runs: {
    events: ConnectionEvents;
    signal: AbortSignal;
    resume: string | undefined;
    close: ReturnType<typeof vi.fn>;
    leave: ReturnType<typeof vi.fn>;
    done(error?: Error): void;
  }[] = [];
  const troubles: unknown[] = [];
  const ends: string[] = [];
  const remembered: (string | undefined)[] = [];
  const logged: string[] = [];
  const controller = new Controller({
    open: (events, resume, signal) =>
      new Promise((resolve, reject) => {
        const close = vi.fn(async () => {});
        const setResources = vi.fn(async () => ({ problems: [], approvals: [{}, {}] }));
        const leave = vi.fn(async () => {});
        const connection = { id: 'abc', close, leave, setResources } as unknown as Connection;
        events.opened(connection);
        signal.addEventListener('abort', () => reject(signal.reason as Error));
        runs.push({
          events,
          signal,
          resume,
          close,
          leave,
          done: (error) => (error ? reject(error) : resolve(connection)),
        });
      }),
    end: async (session) => void ends.push(session),
    persistent: () => persistent,
    resumeMs: () => 60_000,
    remember: (session) => remembered.push(session),
    changed: () => {},
    resources: () => {},
    trouble: (error) => troubles.push(error),
    log: (message) => logged.push(message),
  });
  const connect = async () => {
    const attempt = controller.connect();
    await vi.advanceTimersByTimeAsync(0);
    runs.at(-1)?.events.status(up);
    runs.at(-1)?.done();
    await attempt;
  };
  return { controller, runs, troubles, ends, remembered, logged, connect };
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('Controller', () => {
  it('heeds nothing that an old run says', async () => {
    const { controller, runs, troubles, connect } = rig();
    await connect();
    await controller.disconnect();
    await connect();
    const old = runs[0]?.events;
    old?.ended('late');
    old?.resources({ problems: [], approvals: [{} as never] });
    old?.status({ ...up, flows: 9 });
    expect(controller.state).toEqual({ kind: 'connected', status: up, approvals: 0 });
    expect(troubles).toEqual([]);
  });

  it('closes what it lets go of, before the next run begins', async () => {
    const { controller, runs, connect } = rig();
    await connect();
    let closed: () => void = () => {};
    const closing = new Promise<void>((resolve) => {
      closed = resolve;
    });
    runs[0]?.close.mockReturnValue(closing);
    runs[0]?.events.ended('gone');
    const next = controller.connect();
    await vi.advanceTimersByTimeAsync(10);
    expect(runs.length).toBe(1);
    closed();
    await vi.advanceTimersByTimeAsync(0);
    expect(runs.length).toBe(2);
    runs[1]?.done(new Error('x'));
    await next;
  });

  it('counts what waits for approval when the settings change', async () => {
    const { controller, connect } = rig();
    await controller.setResources({});
    await connect();
    await controller.setResources({ resources: [] });
    expect(controller.state).toMatchObject({ approvals: 2 });
  });

  it('keeps trying with growing delays while it is to persist, until it is told to stop', async () => {
    const { controller, runs, troubles, connect } = rig(true);
    await connect();
    runs[0]?.events.ended('gone');
    const delays: number[] = [];
    for (let i = 0; i < 4; i++) {
      const { state } = controller;
      if (state.kind !== 'reconnecting') throw new Error(state.kind);
      delays.push(state.delayMs);
      await vi.advanceTimersByTimeAsync(state.delayMs);
      runs.at(-1)?.done(new Error('still gone'));
      await vi.advanceTimersByTimeAsync(0);
    }
    expect(delays.every((delay, i) => i === 0 || delay > (delays[i - 1] as number))).toBe(true);
    expect(troubles).toEqual([]);
    await controller.disconnect();
    expect(controller.state).toEqual({ kind: 'disconnected' });
    const { length } = runs;
    await vi.advanceTimersByTimeAsync(120_000);
    expect(runs.length).toBe(length);
  });

  it('seeks a lost session until its time is over, and only that one', async () => {
    const { controller, runs, troubles, remembered, logged, connect } = rig();
    await connect();
    expect(remembered).toEqual(['abc']);
    runs[0]?.events.lost('link gone');
    expect(logged.at(-1)).toMatch(/reconnecting: link gone; .* 1 min/);
    expect(runs[0]?.leave).toHaveBeenCalled();
    expect(runs[0]?.close).not.toHaveBeenCalled();
    expect(controller.state).toMatchObject({ kind: 'reconnecting', reason: 'link gone', waits: {} });
    for (let i = 0; i < 100 && controller.state.kind === 'reconnecting'; i++) {
      await vi.advanceTimersByTimeAsync(controller.state.delayMs);
      expect(runs.at(-1)?.resume).toBe('abc');
      runs.at(-1)?.done(new Error('still gone'));
      await vi.advanceTimersByTimeAsync(0);
    }
    expect(controller.state.kind).toBe('error');
    expect(troubles.length).toBe(1);
    expect(runs.length).toBeGreaterThan(5);
    expect(runs.length).toBeLessThan(30);
  });

  it('ends what waits when it is told to disconnect', async () => {
    const { controller, runs, ends, remembered, connect } = rig();
    await connect();
    runs[0]?.events.lost('link gone');
    await controller.disconnect();
    expect(ends).toEqual(['abc']);
    expect(remembered.at(-1)).toBeUndefined();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(runs.length).toBe(1);
  });

  it('does not try again by itself what the user has to mend, nor a first attempt', async () => {
    for (const error of [new Trouble('pair first'), new Error('x')]) {
      const { controller, runs, troubles } = rig(true);
      const attempt = controller.connect();
      await vi.advanceTimersByTimeAsync(0);
      runs[0]?.done(error);
      await attempt;
      expect(controller.state).toEqual({ kind: 'error', message: error.message });
      expect(troubles).toEqual([expect.any(Trouble)]);
      expect((troubles[0] as Trouble).message).toMatch(
        error instanceof Trouble ? /^pair first$/ : /could not connect. X\./,
      );
      expect((troubles[0] as Trouble).remedies.length).toBe(error instanceof Trouble ? 0 : 2);
    }
  });
});
