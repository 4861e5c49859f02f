import { CommandLink } from '../../shared/src/commandLink';
import { Helper } from '../../shared/src/helper';
import {
  AnswerApprovals,
  type ApprovalAnswers,
  ApprovalsChanged,
  Code,
  GatewayOpen,
  type GatewayStatus,
  GatewayStatusChanged,
  GetGatewayStatus,
  LinkClosedByHelper,
  LinkOpen,
  Log,
  type LogLevel,
  type LogMessage,
  type ResourcesParams,
  type ResourcesResult,
  SetLogLevel,
  SetResources,
  TestResource,
  type TestResult,
} from '../../shared/src/protocol';
import type { Step } from '../../shared/src/session';
import { plain } from '../../shared/src/text';
import { within } from '../../shared/src/wait';
import type { Companion } from './companion';
import type { Identity } from './identity';
import type { Platform } from './platform';
import type { Settings } from './settings';
import { Trouble } from './trouble';

const HANDSHAKE_MS = 15_000;
const LINK_MS = 30_000;
/** A person may have to find the helper's terminal first. */
const TERMINAL_MS = 10 * 60_000;
const RESET_PAIRING = { title: 'Pair Again', command: 'causeway.pairLocalHelper' };

export interface ConnectionEvents {
  /** The connection that is being opened; comes first, since frames arrive before it is usable. */
  opened(connection: Connection): void;
  step(step: Step): void;
  status(status: GatewayStatus): void;
  /** Mistakes in the settings, and what waits for the user. */
  resources(result: ResourcesResult): void;
  /** The session is over; comes once, and not after close. */
  ended(reason: string): void;
}

export interface ConnectionOptions {
  platform: Platform;
  companion: Companion;
  identity: Identity;
  settings: Settings;
  resources: ResourcesParams;
  version: string;
  events: ConnectionEvents;
  log(message: LogMessage): void;
  signal: AbortSignal;
}

/** One session: a gateway helper of ours, and a link to the capture that the companion started. */
export class Connection {
  private helper!: Helper;
  private link: CommandLink | undefined;
  private over = false;
  private up!: () => void;
  private down!: (error: Error) => void;
  private readonly connected = new Promise<void>((resolve, reject) => {
    this.up = resolve;
    this.down = reject;
  });

  private constructor(private readonly options: ConnectionOptions) {
    this.connected.catch(() => {});
  }

  /** Resolves when the remote is usable; rejects, with nothing left behind, when it cannot be made so. */
  static async open(options: ConnectionOptions): Promise<Connection> {
    const connection = new Connection(options);
    options.events.opened(connection);
    try {
      await connection.establish();
      return connection;
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  /** Whether id is this session's link. */
  receive(id: unknown, frames: unknown[]): void {
    if (this.link !== undefined && id === this.link.id) this.link.receive(frames);
  }

  setResources(resources: ResourcesParams): Promise<ResourcesResult> {
    return this.helper.call(SetResources, resources);
  }

  answer(answers: ApprovalAnswers): Promise<ResourcesResult> {
    return this.helper.call(AnswerApprovals, answers);
  }

  test(resource: string, signal: AbortSignal): Promise<TestResult> {
    return this.helper.call(TestResource, { resource }, signal);
  }

  setLogLevel(level: LogLevel): Promise<unknown> {
    return this.helper.call(SetLogLevel, { level });
  }

  /** Ends the session at both ends and waits for our helper. Idempotent. */
  async close(): Promise<void> {
    if (!this.over) {
      this.over = true;
      this.down(new Error('closed'));
    }
    if (this.link !== undefined) {
      this.link.close();
      this.options.companion.close(this.link.id);
    }
    await this.helper?.close();
  }

  private async establish(): Promise<void> {
    const { platform, companion, identity, settings, resources, version, events, signal } = this.options;
    events.step('gateway');
    const gateway = await platform.gateway({ port: settings.localHelperPort, log: this.options.log, signal });
    this.helper = new Helper(gateway.wire, {
      frame: (bytes) => this.link?.push(bytes),
      ended: (reason) => this.end(`the gateway helper is gone: ${reason}`),
    });
    this.listen();
    const hello = this.helper.initialize({ name: 'causeway-ui', version }, gateway.token);
    await this.guard(understandable(hello), HANDSHAKE_MS, 'the gateway helper');
    // A helper that serves several windows logs as its own command line says.
    if (platform.approvals === 'dialog') await this.setLogLevel(settings.logLevel);

    events.step('companion');
    await this.guard(companion.hello(signal));

    events.step('session');
    const { authority, workspace } = identity;
    const opening = this.helper.call(GatewayOpen, {
      authority,
      workspace,
      strictProxy: settings.strictProxy,
      ...resources,
    });
    const { session, secret, ...result } = await this.guard(
      understandable(opening),
      platform.approvals === 'terminal' ? TERMINAL_MS : HANDSHAKE_MS,
      'opening a session at the gateway',
    );
    events.resources(result);
    events.step('capture');
    const link = new CommandLink({
      id: randomId(),
      wire: gateway.wire,
      send: (frames) => companion.frames(link.id, frames),
      lost: (reason) => this.end(reason),
    });
    this.link = link;
    await this.guard(this.helper.call(LinkOpen, { kind: 'command' }), HANDSHAKE_MS, 'opening the link');
    const { logLevel, setProxyEnvironment } = settings;
    await this.guard(companion.open({ link: link.id, session, secret, logLevel, setProxyEnvironment }, signal));
    events.step('link');
    void companion.watch(link.id).then((reason) => this.end(reason));
    link.start();
    this.status(await this.guard(this.helper.call(GetGatewayStatus), HANDSHAKE_MS, 'the gateway helper'));
    await this.guard(this.connected, LINK_MS, 'the capture');
  }

  private listen(): void {
    this.helper.on(GatewayStatusChanged, (status) => this.status(status));
    this.helper.on(ApprovalsChanged, (result) => this.options.events.resources(result));
    this.helper.on(LinkClosedByHelper, ({ reason }) => this.end(plain(reason)));
    this.helper.on(Log, (message) => this.options.log(message));
  }

  private status(status: GatewayStatus): void {
    if (this.over) return;
    if (status.state === 'closed') {
      this.end(plain(status.reason ?? 'the gateway ended the session'));
      return;
    }
    this.options.events.status(status);
    if (status.state === 'connected') this.up();
  }

  /** promise, unless the session ends, is cancelled, or the time is over. */
  private guard<T>(promise: Promise<T>, ms = 2 ** 31 - 1, what = ''): Promise<T> {
    promise.catch(() => {});
    const ended = this.connected.then(() => new Promise<never>(() => {}));
    return within(Promise.race([promise, ended]), ms, what, this.options.signal);
  }

  private end(reason: string): void {
    if (this.over) return;
    this.over = true;
    this.link?.close();
    this.down(new Error(reason));
    this.options.events.ended(reason);
  }
}

/** Turns the refusals that a person can do something about into such. */
async function understandable<T>(promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    const { code, message } = error as { code?: number; message: string };
    if (code === Code.unauthorized) {
      throw new Trouble(`The local helper refused this page: ${plain(message)}.`, [RESET_PAIRING]);
    }
    if (code === Code.version) throw new Trouble(plain(message));
    throw error;
  }
}

function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
