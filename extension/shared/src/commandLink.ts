import { toBytes } from './bridge';
import { MAX_FRAME } from './framing';
import { Pump } from './pump';
import { errorText } from './text';
import type { Wire } from './wire';

/**
 * Most bytes that may wait for our helper. The carrier's window is 2 MiB, so only
 * a sender that ignores the window exceeds this.
 */
const MAX_BACKLOG = 8 << 20;

export interface CommandLinkOptions {
  id: string;
  wire: Wire;
  /** Sends frames to the other half. The result returns their credit. */
  send(frames: Uint8Array[]): PromiseLike<unknown>;
  /** The link has failed. Called at most once, and never after close. */
  lost(reason: string): void;
}

/** One end of a command link, which carries frames between the helpers as arguments of commands. */
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

  /** Takes over a frame of our helper and sends it once the link has started. */
  push(frame: Uint8Array): void {
    this.pump.push(frame);
  }

  /** The other half can take frames from now on. */
  start(): void {
    this.pump.start();
  }

  /** Passes frames of the other half to our helper, at once and in order. */
  receive(frames: unknown[]): void {
    if (this.over) return;
    for (const frame of frames) {
      const bytes = toBytes(frame);
      if (bytes === undefined || bytes.byteLength > MAX_FRAME) {
        this.fail('the other half sent an argument that is not a frame');
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
