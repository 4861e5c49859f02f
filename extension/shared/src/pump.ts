// The sending half of a command link. VS Code queues command arguments without
// limit, even while its own connection is down, so the limit is here.

/** Each call has a cost, so small frames that come close together share one. */
export const FLUSH_BYTES = 64 << 10;
export const BATCH_BYTES = 256 << 10;
export const DELAY_MS = 3;
/** VS Code counts the arguments of a call in one byte. */
export const BATCH_FRAMES = 100;
/** Bytes in calls that have not returned yet. */
export const MAX_IN_FLIGHT = 1 << 20;
/** When more bytes than this wait for credit, the pump pauses its source. */
export const MAX_QUEUED = 1 << 20;

export interface PumpOptions {
  /** Sends frames to the other half, in order. The result returns their credit. */
  send(frames: Uint8Array[]): PromiseLike<unknown>;
  /** Pauses the source of frames; resume lets it go on. */
  pause(): void;
  resume(): void;
  /** A call failed: the other half is gone. Called once; the pump sends nothing after it. */
  failed(error: unknown): void;
}

/** Sends frames in order, in batches and within bounds. Until start it only keeps them. */
export class Pump {
  private queue: Uint8Array[] = [];
  private queued = 0;
  private inFlight = 0;
  private calls = 0;
  private sentAt = Number.NEGATIVE_INFINITY;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private state: 'held' | 'running' | 'stopped' = 'held';
  private paused = false;

  constructor(private readonly options: PumpOptions) {}

  /** Takes over a frame: the caller must not change it afterwards. */
  push(frame: Uint8Array): void {
    if (this.state === 'stopped') return;
    this.queue.push(frame);
    this.queued += frame.byteLength;
    this.flush(false);
    if (!this.paused && this.queued > MAX_QUEUED) {
      this.paused = true;
      this.options.pause();
    }
  }

  start(): void {
    if (this.state !== 'held') return;
    this.state = 'running';
    this.flush(true);
  }

  /** Drops the queue. Idempotent. */
  stop(): void {
    this.state = 'stopped';
    this.queue = [];
    this.queued = 0;
    this.disarm();
  }

  private flush(due: boolean): void {
    while (this.state === 'running' && this.queue.length > 0 && this.inFlight < MAX_IN_FLIGHT) {
      // If both halves share an extension host, a call returns at once, but the
      // editor falls behind at thousands of calls per second.
      const soon = this.calls > 0 || performance.now() - this.sentAt < DELAY_MS;
      if (!due && soon && this.queued < FLUSH_BYTES && this.queue.length < BATCH_FRAMES) {
        this.timer ??= setTimeout(() => {
          this.timer = undefined;
          this.flush(true);
        }, DELAY_MS);
        return;
      }
      this.sendBatch();
    }
    // Frames that are left wait for credit; the next result flushes them.
    this.disarm();
    if (this.paused && this.state === 'running' && this.queued <= MAX_QUEUED / 2) {
      this.paused = false;
      this.options.resume();
    }
  }

  private sendBatch(): void {
    let count = 0;
    let bytes = 0;
    for (const frame of this.queue) {
      if (count === BATCH_FRAMES || (count > 0 && bytes + frame.byteLength > BATCH_BYTES)) break;
      count++;
      bytes += frame.byteLength;
    }
    const batch = this.queue.splice(0, count);
    this.queued -= bytes;
    this.inFlight += bytes;
    this.calls++;
    this.sentAt = performance.now();
    this.options.send(batch).then(
      () => {
        this.inFlight -= bytes;
        this.calls--;
        this.flush(false);
      },
      (error) => {
        if (this.state === 'stopped') return;
        this.stop();
        this.options.failed(error);
      },
    );
  }

  private disarm(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }
}
