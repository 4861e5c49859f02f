import { BRIDGE, commonVersion, type HelloReply, isHello, isOpenLink, type OpenReply } from '../../shared/src/bridge';
import { errorText, plain } from '../../shared/src/text';
import { Capture, type CaptureOptions, SessionGone } from './capture';

export interface EndpointOptions extends CaptureOptions {
  log(message: string): void;
}

/** The remote's end: at most one session, the one that was opened last. */
export class Endpoint {
  private current: Capture | undefined;

  constructor(private readonly options: EndpointOptions) {}

  hello(hello: unknown): HelloReply {
    if (!isHello(hello)) return { refused: 'The companion received a malformed greeting.' };
    const { version } = this.options;
    const protocol = commonVersion(BRIDGE, hello.protocol);
    if (protocol !== undefined) return { protocol, version };
    const older = hello.protocol.max < BRIDGE.min ? 'the Causeway extension' : 'the companion';
    return {
      version,
      refused: `Causeway ${plain(hello.version, 40)} and its companion ${version} cannot work together. Update ${older}.`,
    };
  }

  /** Opens a link of a session. A different session ends first. */
  async open(link: unknown): Promise<OpenReply> {
    if (!isOpenLink(link)) return { failed: 'the companion received a malformed request for a link' };
    const before = this.current;
    const known = before !== undefined && !before.over && before.session === link.session;
    const capture = known ? before : this.begin(new Capture(link, this.options));
    try {
      if (!known) await before?.close('another session took its place');
      return await capture.open(link);
    } catch (error) {
      const failed = capture.over ? await capture.ended : errorText(error);
      if (!known) await capture.close(failed);
      return { failed, ...(error instanceof SessionGone ? { gone: true } : {}) };
    }
  }

  /** Resolves with the reason when the link has ended. */
  watch(link: unknown): Promise<string> {
    return this.current?.watch(link) ?? Promise.resolve('the companion knows no such link');
  }

  receive(link: unknown, frames: unknown[]): void {
    this.current?.receive(link, frames);
  }

  /** Ends the link; its session waits for another link. */
  close(link: unknown): void {
    this.current?.lose(link);
  }

  /** Ends the session. Resolves when its changes to this host are undone. */
  async end(session: unknown): Promise<void> {
    if (this.current?.session === session) await this.current?.close('the session was closed');
  }

  /** Leaves the session to the next companion, which a reload of the window starts. */
  async dispose(): Promise<void> {
    await this.current?.leave('the companion was shut down');
  }

  private begin(capture: Capture): Capture {
    this.current = capture;
    void capture.ended.then((reason) => {
      this.options.log(`the session has ended here: ${reason}`);
      if (this.current === capture) {
        this.current = undefined;
        this.options.environment.clear();
      }
      return capture.close(reason);
    });
    return capture;
  }
}
