import { describe, expect, it, vi } from 'vitest';
import { unresolved } from '../../../remote/src/resolve';

describe('unresolved', () => {
  it('returns the hosts without an address, and those whose look-up takes too long', async () => {
    vi.useFakeTimers();
    const resolve = vi.fn((host: string): Promise<unknown> => {
      if (host === 'slow.test') return new Promise(() => {});
      return host === 'known.test' ? Promise.resolve({}) : Promise.reject(new Error('ENOTFOUND'));
    });
    const asked = unresolved(['known.test', 'private.test', 'slow.test'], resolve);
    await vi.advanceTimersByTimeAsync(2500);
    expect(await asked).toEqual(['private.test', 'slow.test']);
    vi.useRealTimers();
  });

  it.each([undefined, null, 'a.test', { length: 3 }, [1, null, '', '-x', 'a b', '../x', 'x'.repeat(300)]])(
    'looks nothing up for nonsense: %j',
    async (hosts) => {
      const resolve = vi.fn(() => Promise.reject(new Error('ENOTFOUND')));
      expect(await unresolved(hosts, resolve)).toEqual([]);
      expect(resolve).not.toHaveBeenCalled();
    },
  );

  it('looks up a hundred hosts at most', async () => {
    const resolve = vi.fn(() => Promise.resolve());
    await unresolved(
      Array.from({ length: 500 }, (_, i) => `h${i}.test`),
      resolve,
    );
    expect(resolve).toHaveBeenCalledTimes(100);
  });
});
