import type { OpenLink } from '../../shared/src/bridge';
import { CommandLink } from '../../shared/src/commandLink';
import { Helper } from '../../shared/src/helper';
import {
  CaptureOpen,
  type CaptureStatus,
  CaptureStatusChanged,
  GetCaptureStatus,
  LinkClosedByHelper,
  LinkOpen,
  SetLogLevel,
} from '../../shared/src/protocol';
import { plain } from '../../shared/src/text';
import { within } from '../../shared/src/wait';
import type { Wire } from '../../shared/src/wire';
import type { ProxyEnvironment } from './environment';

const HANDSHAKE_MS = 15_000;

export interface CaptureOptions {
  version: string;
  environment: Pick<ProxyEnvironment, 'set' | 'clear'>;
  /** Starts a capture helper. */
  start(): Promise<Wire>;
  /** Calls the UI extension with frames; its result is the credit. */
  sendFrames(link: string, frames: Uint8Array[]): PromiseLike<unknown>;
}

/** One capture helper and its end of one link. */
export class Capture {
  private helper: Helper | undefined;
  private commandLink: CommandLink | undefined;
  private over = false;
  private tell!: (reason: string) => void;
  /** Resolves with the reason when it is over. */
  readonly ended = new Promise<string>((resolve) => {
    this.tell = resolve;
  });

  constructor(
    private readonly link: OpenLink,
    private readonly options: CaptureOptions,
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
      throw new Error('it was given up');
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
  async close(reason: string): Promise<void> {
    this.end(reason);
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
    this.commandLink?.close();
    this.tell(reason);
  }
}
