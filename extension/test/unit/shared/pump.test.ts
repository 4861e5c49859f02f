import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  BATCH_BYTES,
  BATCH_FRAMES,
  DELAY_MS,
  FLUSH_BYTES,
  MAX_IN_FLIGHT,
  MAX_QUEUED,
  Pump,
} from '../../../shared/src/pump';

/** The other half: it keeps the frames, and returns credit when the test says so. */
class Peer {
  readonly calls: Uint8Array[][] = [];
  readonly errors: unknown[] = [];
  paused = 0;
  resumed = 0;
  private pending: { resolve(): void; reject(error: Error): void }[] = [];
  readonly pump: Pump;

  constructor(start = true) {
    this.pump = new Pump({
      send: (frames) => {
        this.calls.push(frames);
        return new Promise<void>((resolve, reject) => this.pending.push({ resolve, reject }));
      },
      pause: () => this.paused++,
      resume: () => this.resumed++,
      failed: (error) => this.errors.push(error),
    });
    if (start) this.pump.start();
  }

  get inFlight(): number {
    return this.pending.length;
  }

  async credit(): Promise<void> {
    this.pending.shift()?.resolve();
    await vi.advanceTimersByTimeAsync(0);
  }

  async fail(): Promise<void> {
    this.pending.shift()?.reject(new Error('Canceled'));
    await vi.advanceTimersByTimeAsync(0);
  }

  get order(): number[] {
    return this.calls.flat().map((frame) => new DataView(frame.buffer).getUint32(0));
  }
}

let next = 0;
function frame(size: number): Uint8Array {
  const bytes = new Uint8Array(Math.max(4, size));
  new DataView(bytes.buffer).setUint32(0, next++);
  return bytes;
}
const upTo = (n: number) => Array.from({ length: n }, (_, i) => i);

describe('Pump', () => {
  beforeEach(() => {
    next = 0;
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('sends the first frame at once when idle', () => {
    const peer = new Peer();
    peer.pump.push(frame(10));
    expect(peer.calls.length).toBe(1);
  });

  it('makes few calls even when each returns at once', async () => {
    const peer = new Peer();
    for (let i = 0; i < 1000; i++) {
      peer.pump.push(frame(10));
      await peer.credit();
    }
    await vi.advanceTimersByTimeAsync(DELAY_MS);
    expect(peer.calls.length).toBeLessThan(15);
    expect(peer.order).toEqual(upTo(1000));
  });

  it('coalesces small frames for a few milliseconds while a call is out', async () => {
    const peer = new Peer();
    for (let i = 0; i < 10; i++) peer.pump.push(frame(10));
    expect(peer.calls.length).toBe(1);
    await vi.advanceTimersByTimeAsync(DELAY_MS);
    expect(peer.calls.map((call) => call.length)).toEqual([1, 9]);
    expect(peer.order).toEqual(upTo(10));
  });

  it('does not wait when enough has come together', () => {
    const peer = new Peer();
    peer.pump.push(frame(10));
    peer.pump.push(frame(FLUSH_BYTES - 1));
    expect(peer.calls.length).toBe(1);
    peer.pump.push(frame(10));
    expect(peer.calls.length).toBe(2);
  });

  it('sends what waits soon after nothing is out', async () => {
    const peer = new Peer();
    peer.pump.push(frame(10));
    peer.pump.push(frame(10));
    await peer.credit();
    await vi.advanceTimersByTimeAsync(DELAY_MS);
    expect(peer.calls.length).toBe(2);
  });

  it('keeps batches within bytes and arguments', async () => {
    const peer = new Peer(false);
    for (let i = 0; i < BATCH_FRAMES + 1; i++) peer.pump.push(frame(10));
    peer.pump.push(frame(BATCH_BYTES));
    peer.pump.push(frame(BATCH_BYTES + 1));
    peer.pump.start();
    while (peer.inFlight > 0) await peer.credit();
    expect(peer.calls.map((call) => call.length)).toEqual([BATCH_FRAMES, 1, 1, 1]);
  });

  it('keeps the bytes in flight within the bound, and asks the source to pause beyond what it queues', async () => {
    const peer = new Peer();
    const size = 256 << 10;
    const total = (MAX_IN_FLIGHT + MAX_QUEUED) / size;
    for (let i = 0; i < total; i++) peer.pump.push(frame(size));
    expect(peer.inFlight * size).toBe(MAX_IN_FLIGHT);
    expect(peer.paused).toBe(0);
    peer.pump.push(frame(size));
    expect(peer.paused).toBe(1);
    let most = 0;
    while (peer.inFlight > 0) {
      most = Math.max(most, peer.inFlight * size);
      await peer.credit();
    }
    expect(most).toBe(MAX_IN_FLIGHT);
    expect([peer.paused, peer.resumed]).toEqual([1, 1]);
    expect(peer.order).toEqual(upTo(total + 1));
  });

  it('keeps the order of frames of every size under any order of pushes, credits and time', async () => {
    const peer = new Peer();
    let seed = 7;
    const random = (n: number) => {
      seed = (seed * 48271) % 2147483647;
      return seed % n;
    };
    let pushed = 0;
    for (let i = 0; i < 3000; i++) {
      const action = random(4);
      if (action < 2) {
        peer.pump.push(frame(random(10) === 0 ? random(300 << 10) : random(100)));
        pushed++;
      } else if (action === 2) {
        await peer.credit();
      } else {
        await vi.advanceTimersByTimeAsync(random(5));
      }
    }
    for (;;) {
      await vi.advanceTimersByTimeAsync(DELAY_MS);
      if (peer.inFlight === 0) break;
      await peer.credit();
    }
    expect(peer.order).toEqual(upTo(pushed));
  });

  it('holds frames until the other half can take them', () => {
    const peer = new Peer(false);
    peer.pump.push(frame(10));
    expect(peer.calls).toEqual([]);
    peer.pump.start();
    expect(peer.calls.length).toBe(1);
  });

  it('tells once that a call failed, and sends nothing after it', async () => {
    const peer = new Peer();
    for (let i = 0; i < 5; i++) peer.pump.push(frame(BATCH_BYTES));
    const calls = peer.calls.length;
    await peer.fail();
    await peer.fail();
    peer.pump.push(frame(10));
    await vi.advanceTimersByTimeAsync(100);
    expect(peer.errors.length).toBe(1);
    expect(peer.calls.length).toBe(calls);
  });

  it('is silent once stopped', async () => {
    const peer = new Peer();
    peer.pump.push(frame(10));
    peer.pump.push(frame(10));
    peer.pump.stop();
    await peer.fail();
    await vi.advanceTimersByTimeAsync(100);
    expect(peer.calls.length).toBe(1);
    expect(peer.errors).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });
});
