// The sending half of a command link. VS Code queues command arguments without
// bound, through cuts of its own connection too, so the bound is here.

/** The cost of a command is per call, so frames that are small or close together share one. */
export const FLUSH_BYTES = 64 << 10;
export const BATCH_BYTES = 256 << 10;
export const DELAY_MS = 3;
/** VS Code counts the arguments of a call in one byte. */
export const BATCH_FRAMES = 100;
/** Bytes in calls that have not returned yet. */
export const MAX_IN_FLIGHT = 1 << 20;
/** Bytes waiting for credit, above which the source is asked to pause. */
export const MAX_QUEUED = 1 << 20;

export interface PumpOptions {
  /** Calls the other half with frames, in order; its result is the credit. */
  send(frames: Uint8Array[]): PromiseLike<unknown>;
  /** Asks the source of frames to pause, and later to go on. */
  pause(): void;
  resume(): void;
  /** A call failed: the other half is gone. Comes once; nothing is sent after it. */
  failed(error: unknown): void;
}

/**
 * Sends frames in order, coalesced and bounded. It holds what is put into it
 * until start, which is when the other half can take frames.
 */
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

  /** Takes a frame over: the caller must not change it any more. */
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

  /** Drops what is queued. Idempotent. */
  stop(): void {
    this.state = 'stopped';
    this.queue = [];
    this.queued = 0;
    this.disarm();
  }

  private flush(due: boolean): void {
    while (this.state === 'running' && this.queue.length > 0 && this.inFlight < MAX_IN_FLIGHT) {
      // Where both halves share a host a call returns at once, and yet the editor
      // falls behind if there are thousands a second.
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
    // With frames left there is no credit, and a result flushes.
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
