import { toBytes } from './bridge';
import { MAX_FRAME } from './framing';
import { Pump } from './pump';
import { errorText } from './text';
import type { Wire } from './wire';

/**
 * Bytes that the helper has not taken from us. Its carrier has a window of 2 MiB,
 * so more than this comes from a sender that keeps to no rule.
 */
const MAX_BACKLOG = 8 << 20;

export interface CommandLinkOptions {
  id: string;
  wire: Wire;
  /** Calls the other half with frames; its result is the credit. */
  send(frames: Uint8Array[]): PromiseLike<unknown>;
  /** The link is of no use any more; comes at most once, and not after close. */
  lost(reason: string): void;
}

/** One link between the helpers, laid over commands; either half has one end of it. */
export class CommandLink {
  readonly id: string;
  private readonly pump: Pump;
  private over = false;

  constructor(private readonly options: CommandLinkOptions) {
    this.id = options.id;
    this.pump = new Pump({
      send: (frames) => options.send(frames),
      pause: () => options.wire.pause(),
      resume: () => options.wire.resume(),
      failed: (error) => this.fail(`the other extension host is gone (${errorText(error)})`),
    });
  }

  /** Takes a frame of our helper over, to be sent once the link has started. */
  push(frame: Uint8Array): void {
    this.pump.push(frame);
  }

  /** The other half can take frames from here on. */
  start(): void {
    this.pump.start();
  }

  /** Hands frames of the other half to our helper, at once and in order. */
  receive(frames: unknown[]): void {
    if (this.over) return;
    for (const frame of frames) {
      const bytes = toBytes(frame);
      if (bytes === undefined || bytes.byteLength > MAX_FRAME) {
        this.fail('the other half sent something that is no frame');
        return;
      }
      this.options.wire.sendFrame(bytes);
    }
    if (this.options.wire.backlog > MAX_BACKLOG) this.fail('the other half sends more than the helper takes');
  }

  close(): void {
    this.over = true;
    this.pump.stop();
  }

  private fail(reason: string): void {
    if (this.over) return;
    this.close();
    this.options.lost(reason);
  }
}
