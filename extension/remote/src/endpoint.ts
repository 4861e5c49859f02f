import {
  BRIDGE,
  commonVersion,
  type HelloReply,
  isHello,
  isOpenLink,
  type OpenLink,
  type OpenReply,
} from '../../shared/src/bridge';
import { CommandLink } from '../../shared/src/commandLink';
import { Helper } from '../../shared/src/helper';
import {
  CaptureOpen,
  type CaptureStatus,
  CaptureStatusChanged,
  GetCaptureStatus,
  LinkClosedByHelper,
  LinkOpen,
  type LogLevel,
  SetLogLevel,
} from '../../shared/src/protocol';
import { errorText, plain } from '../../shared/src/text';
import { within } from '../../shared/src/wait';
import type { Wire } from '../../shared/src/wire';
import type { ProxyEnvironment } from './environment';

const HANDSHAKE_MS = 15_000;

export interface EndpointOptions {
  version: string;
  environment: Pick<ProxyEnvironment, 'set' | 'clear'>;
  /** Starts a capture helper. */
  start(): Promise<Wire>;
  /** Calls the UI extension with frames; its result is the credit. */
  sendFrames(link: string, frames: Uint8Array[]): PromiseLike<unknown>;
  sendClosed(link: string, reason: string): void;
  log(level: LogLevel, message: string): void;
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
    const capture = new Capture(link, this.options, (reason) => {
      this.options.log('warn', `the link has ended: ${reason}`);
      this.options.sendClosed(link.link, reason);
      void this.end(capture);
    });
    this.current = capture;
    try {
      await before?.close();
      return { helper: await capture.open() };
    } catch (error) {
      await this.end(capture);
      return { failed: capture.reason ?? errorText(error) };
    }
  }

  receive(link: unknown, frames: unknown[]): void {
    this.find(link)?.receive(frames);
  }

  async close(link: unknown): Promise<void> {
    const capture = this.find(link);
    if (capture) await this.end(capture);
  }

  async dispose(): Promise<void> {
    if (this.current) await this.end(this.current);
  }

  private find(link: unknown): Capture | undefined {
    return this.current?.id === link ? this.current : undefined;
  }

  private async end(capture: Capture): Promise<void> {
    if (this.current === capture) {
      this.current = undefined;
      this.options.environment.clear();
    }
    await capture.close();
  }
}

/** One capture helper and its end of one link. */
class Capture {
  private helper: Helper | undefined;
  private commandLink: CommandLink | undefined;
  private over = false;
  /** Why it ended by itself. */
  reason: string | undefined;

  constructor(
    private readonly link: OpenLink,
    private readonly options: EndpointOptions,
    private readonly ended: (reason: string) => void,
  ) {}

  get id(): string {
    return this.link.link;
  }

  /** Resolves with the helper's version when it takes frames. */
  async open(): Promise<string> {
    const { version, start, sendFrames } = this.options;
    const { link: id, session, secret, logLevel } = this.link;
    const wire = await start();
    const commandLink = new CommandLink({
      id,
      wire,
      send: (frames) => sendFrames(id, frames),
      lost: (reason) => this.end(reason),
    });
    const helper = new Helper(wire, {
      frame: (bytes) => commandLink.push(bytes),
      ended: (reason) => this.end(`the capture helper is gone: ${reason}`),
    });
    this.helper = helper;
    this.commandLink = commandLink;
    if (this.over) {
      await helper.close();
      throw new Error('another link took its place');
    }
    const handshake = async () => {
      const result = await helper.initialize({ name: 'causeway-remote', version });
      await helper.call(SetLogLevel, { level: logLevel });
      helper.on(CaptureStatusChanged, (status) => this.status(status));
      helper.on(LinkClosedByHelper, ({ reason }) => this.end(plain(reason)));
      await helper.call(CaptureOpen, { session, secret });
      await helper.call(LinkOpen, { kind: 'command' });
      return result.helper.version;
    };
    const helperVersion = await within(handshake(), HANDSHAKE_MS, 'the capture helper');
    commandLink.start();
    helper.call(GetCaptureStatus).then(
      (status) => this.status(status),
      () => {},
    );
    return helperVersion;
  }

  receive(frames: unknown[]): void {
    this.commandLink?.receive(frames);
  }

  /** Closes the helper's stdin first, which takes back what it did to this host. Idempotent. */
  async close(): Promise<void> {
    this.over = true;
    this.commandLink?.close();
    await this.helper?.close();
  }

  private status({ state, reason, proxy, noProxy }: CaptureStatus): void {
    if (this.over) return;
    if (state === 'closed') {
      this.end(plain(reason ?? 'the capture ended the session'));
    } else if (state === 'connected' && proxy && this.link.setProxyEnvironment) {
      this.options.environment.set(proxy, noProxy ?? []);
    }
  }

  private end(reason: string): void {
    if (this.over) return;
    this.over = true;
    this.reason = reason;
    this.commandLink?.close();
    this.ended(reason);
  }
}
