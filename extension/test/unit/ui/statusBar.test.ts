import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { SessionState } from '../../../shared/src/session';
import { StatusBar } from '../../../ui/src/statusBar';
import { statusBarItem } from '../../vscode';

const connected = (flows: number, rttMillis = 12): SessionState => ({
  kind: 'connected',
  approvals: 0,
  status: { state: 'connected', flows, bytesUp: 0, bytesDown: 0, link: { kind: 'direct', rttMillis }, resources: [] },
});

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('StatusBar', () => {
  it('changes at most once per second, and ends with the latest state', async () => {
    const changes: string[] = [];
    const bar = new StatusBar('dialog');
    let label = '';
    Object.defineProperty(statusBarItem, 'accessibilityInformation', {
      configurable: true,
      get: () => ({ label }),
      set: (value: { label: string }) => {
        label = value.label;
        changes.push(label);
      },
    });
    for (let i = 0; i < 30; i++) {
      bar.show(connected(i));
      await vi.advanceTimersByTimeAsync(100);
    }
    await vi.advanceTimersByTimeAsync(1000);
    expect(changes.length).toBeGreaterThan(2);
    expect(changes.length).toBeLessThanOrEqual(4);
    expect(changes[0]).toContain('0 flows');
    expect(changes.at(-1)).toContain('29 flows');
    const { length } = changes;
    bar.show(connected(29));
    await vi.advanceTimersByTimeAsync(2000);
    expect(changes.length).toBe(length);
    bar.show(connected(30));
    bar.dispose();
    await vi.advanceTimersByTimeAsync(2000);
    expect(changes.length).toBe(length);
  });

  it('lets its links run our commands alone', async () => {
    const bar = new StatusBar('dialog');
    bar.show(connected(1));
    await vi.advanceTimersByTimeAsync(0);
    const { isTrusted } = statusBarItem.tooltip as { isTrusted: { enabledCommands: string[] } };
    expect(isTrusted.enabledCommands.every((id) => id.startsWith('causeway.'))).toBe(true);
    bar.dispose();
  });
});
