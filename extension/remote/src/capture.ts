import type { OpenLink } from '../../shared/src/bridge';
import { CommandLink } from '../../shared/src/commandLink';
import { Helper } from '../../shared/src/helper';
import {
  CaptureOpen,
  type CaptureStatus,
  CaptureStatusChanged,
  Code,
  GetCaptureStatus,
  LinkClose,
  LinkClosedByHelper,
  LinkListen,
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
  start: () => Promise<Wire>;
  /** Sends frames to the UI extension. The result returns their credit. */
  sendFrames(link: string, frames: Uint8Array[]): PromiseLike<unknown>;
}

/** Something that ends once, with a reason. */
class Ending {
  over = false;
  private tell!: (reason: string) => void;
  readonly promise = new Promise<string>((resolve) => {
    this.tell = resolve;
  });

  end(reason: string): void {
    this.over = true;
    this.tell(reason);
  }
}

/** The capture helper no longer has the session to resume. */
export class SessionGone extends Error {}

/** One session at a capture helper. It has one link at a time. */
export class Capture {
  private helper: Helper | undefined;
  private started: Promise<string> | undefined;
  private link: { id: string; frames: CommandLink; ending: Ending } | undefined;
  private readonly ending = new Ending();

  constructor(
    private readonly first: OpenLink,
    private readonly options: CaptureOptions,
  ) {}

  get session(): string {
    return this.first.session;
  }

  /** Resolves with the reason when the session has ended here or the helper is gone. */
  get ended(): Promise<string> {
    return this.ending.promise;
  }

  get over(): boolean {
    return this.ending.over;
  }

  /**
   * Opens a link in place of the earlier one. Resolves when the helper takes its
   * frames, with the helper's version and its port for direct links, if it has one.
   */
  async open(link: OpenLink): Promise<{ helper: string; port?: number }> {
    if (link.secret !== this.first.secret) throw new Error('the secret does not match the session');
    this.closeLink('another link took its place');
    this.started ??= within(this.start(), HANDSHAKE_MS, 'the capture helper');
    const version = await this.started;
    const { helper } = this;
    if (helper === undefined || this.over) throw new Error(await this.ended);
    this.closeLink('another link took its place');
    // After the reply no frame of an earlier link can arrive and be taken for one of this link.
    await within(
      helper.call(LinkClose, { reason: 'another link takes its place' }),
      HANDSHAKE_MS,
      'the capture helper',
    );
    const ending = new Ending();
    const frames = new CommandLink({
      id: link.link,
      wire: helper.wire,
      send: (batch) => this.options.sendFrames(link.link, batch),
      lost: (reason) => ending.end(reason),
    });
    this.link = { id: link.link, frames, ending };
    await within(helper.call(LinkOpen, { kind: 'command' }), HANDSHAKE_MS, 'the capture helper');
    frames.start();
    helper.call(GetCaptureStatus).then(
      (status) => this.status(status),
      () => {},
    );
    const listening = await helper.call(LinkListen).catch(() => undefined);
    return { helper: version, ...listening };
  }

  /** Resolves with the reason when the link has ended; undefined if it is not the current link. */
  watch(link: unknown): Promise<string> | undefined {
    return this.link?.id === link ? this.link?.ending.promise : undefined;
  }

  receive(link: unknown, frames: unknown[]): void {
    if (this.link?.id === link) this.link?.frames.receive(frames);
  }

  /** Ends the link; the session waits. */
  lose(link: unknown): void {
    if (this.link?.id === link) this.closeLink('it was closed');
  }

  /** Ends the session and undoes its changes to this host. Idempotent. */
  async close(reason: string): Promise<void> {
    this.end(reason);
    await this.helper?.close();
  }

  /** Leaves the helper, where the session waits for the next driver. */
  async leave(reason: string): Promise<void> {
    this.end(reason);
    await this.helper?.leave();
  }

  private async start(): Promise<string> {
    const { version, start } = this.options;
    const { session, secret, logLevel, resumed, resumeSeconds, window, sources, bridges, users } = this.first;
    const wire = await start();
    const helper = new Helper(wire, {
      frame: (bytes) => this.link?.frames.push(bytes),
      ended: (reason) => this.end(`the capture helper is gone: ${reason}`),
    });
    if (this.over) {
      await helper.close();
      throw new Error('it was given up');
    }
    this.helper = helper;
    helper.on(CaptureStatusChanged, (status) => this.status(status));
    helper.on(LinkClosedByHelper, ({ reason }) => this.closeLink(plain(reason)));
    const result = await helper.initialize({ name: 'causeway-remote', version });
    await helper.call(SetLogLevel, { level: logLevel });
    try {
      await helper.call(CaptureOpen, {
        session,
        secret,
        resumed,
        resumeSeconds,
        window,
        ...(sources && { sources }),
        ...(bridges?.length && { bridges }),
        ...(users?.length && { users }),
      });
    } catch (error) {
      const { code, message } = error as { code?: number; message: string };
      throw code === Code.noSession ? new SessionGone(message) : error;
    }
    return result.helper.version;
  }

  private status({ state, reason, proxy, noProxy }: CaptureStatus): void {
    if (this.over) return;
    if (state === 'closed') {
      this.end(plain(reason ?? 'the capture ended the session'));
    } else if (state === 'connected' && proxy && this.first.setProxyEnvironment) {
      this.options.environment.set(proxy, noProxy ?? []);
    }
  }

  private closeLink(reason: string): void {
    const { link } = this;
    this.link = undefined;
    link?.frames.close();
    link?.ending.end(reason);
  }

  private end(reason: string): void {
    if (this.over) return;
    this.ending.end(reason);
    this.closeLink(reason);
  }
}
