import { BRIDGE, commonVersion, type HelloReply, isHello, isOpenLink, type OpenReply } from '../../shared/src/bridge';
import { errorText, plain } from '../../shared/src/text';
import { Capture, type CaptureOptions } from './capture';

export interface EndpointOptions extends CaptureOptions {
  log(message: string): void;
}

/** The remote's end: at most one capture helper, for the link that was asked for last. */
export class Endpoint {
  private current: Capture | undefined;

  constructor(private readonly options: EndpointOptions) {}

  hello(hello: unknown): HelloReply {
    if (!isHello(hello)) return { refused: 'The companion was greeted with something that is no greeting.' };
    const { version } = this.options;
    const protocol = commonVersion(BRIDGE, hello.protocol);
    if (protocol !== undefined) return { protocol, version };
    const older = hello.protocol.max < BRIDGE.min ? 'the Causeway extension' : 'the companion';
    return {
      refused: `Causeway ${plain(hello.version, 40)} and its companion ${version} have no version in common: update ${older}.`,
    };
  }

  /** Starts a capture helper for the link; the one of an earlier link ends first. */
  async open(link: unknown): Promise<OpenReply> {
    if (!isOpenLink(link)) return { failed: 'the companion was asked for something that is no link' };
    const before = this.current;
    const capture = new Capture(link, this.options);
    this.current = capture;
    void capture.ended.then((reason) => {
      this.options.log(`the link has ended: ${reason}`);
      return this.end(capture);
    });
    try {
      await before?.close('another link took its place');
      return { helper: await capture.open() };
    } catch (error) {
      await capture.close(errorText(error));
      return { failed: await capture.ended };
    }
  }

  /** Resolves with the reason when the link is over. */
  watch(link: unknown): Promise<string> {
    return this.find(link)?.ended ?? Promise.resolve('the companion knows no such link');
  }

  receive(link: unknown, frames: unknown[]): void {
    this.find(link)?.receive(frames);
  }

  async close(link: unknown): Promise<void> {
    await this.find(link)?.close('it was closed');
  }

  async dispose(): Promise<void> {
    await this.current?.close('the companion was shut down');
  }

  private find(link: unknown): Capture | undefined {
    return this.current?.id === link ? this.current : undefined;
  }

  private async end(capture: Capture): Promise<void> {
    if (this.current === capture) {
      this.current = undefined;
      this.options.environment.clear();
    }
    await capture.close('');
  }
}
