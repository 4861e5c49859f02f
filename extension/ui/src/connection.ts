import type { RequestType } from 'vscode-jsonrpc';
import { CommandLink } from '../../shared/src/commandLink';
import { FlowsChanged, type FlowsListener, SubscribeFlows, UnsubscribeFlows } from '../../shared/src/flows';
import { Helper } from '../../shared/src/helper';
import {
  AnswerApprovals,
  type ApprovalAnswers,
  ApprovalsChanged,
  CheckHealth,
  type ClientParams,
  GatewayOpen,
  type GatewayOpenResult,
  type GatewayStatus,
  GatewayStatusChanged,
  GetClientArguments,
  GetGatewayStatus,
  LinkClosedByHelper,
  LinkOpen,
  Log,
  type LogLevel,
  type ResourcesParams,
  type ResourcesResult,
  SessionClose,
  SetLogLevel,
  SetResources,
  TestResource,
  type TestResult,
} from '../../shared/src/protocol';
import { errorText, plain } from '../../shared/src/text';
import { within } from '../../shared/src/wait';
import { type ConnectionOptions, linkRequest, randomId, TIMES, understandable } from './connectionOptions';
import { dialLink, useForwarded } from './forward';
import { SessionOver } from './sessionOver';
import { Trouble } from './trouble';

/** This window's part of a session: the gateway helper, and a link to the companion's capture. */
export class Connection {
  private helper: Helper | undefined;
  private link: CommandLink | undefined;
  private session: string | undefined;
  /** The remote's port for direct links. */
  private port: number | undefined;
  private closed = false;
  private renewing = false;
  private over = false;
  private flows: FlowsListener;
  private up!: () => void;
  private down!: (error: Error) => void;
  private readonly connected = new Promise<void>((resolve, reject) => {
    this.up = resolve;
    this.down = reject;
  });

  private constructor(private readonly options: ConnectionOptions) {
    this.connected.catch(() => {});
  }

  /**
   * Resolves when the remote is usable. If that fails, a new session is closed, and one that was to be resumed
   * keeps waiting. Rejects with a SessionOver if there is no session to resume.
   */
  static async open(options: ConnectionOptions): Promise<Connection> {
    const connection = new Connection(options);
    options.events.opened(connection);
    try {
      await connection.establish();
      return connection;
    } catch (error) {
      if (options.resume !== undefined && !(error instanceof SessionOver)) await connection.leave();
      else await connection.close();
      throw error;
    }
  }

  /** Ends the session that options.resume names, at each end that can be reached. */
  static async end(options: ConnectionOptions): Promise<void> {
    const connection = new Connection(options);
    try {
      await connection.openSession(await connection.reach(), false);
    } catch (error) {
      options.log({ level: 'info', message: `the gateway has no such session: ${errorText(error)}` });
    }
    await connection.close();
  }

  /** The session's public identifier; undefined before it is open. */
  get id(): string | undefined {
    return this.session;
  }

  /** Takes frames if id is this session's link. */
  receive(id: unknown, frames: unknown[]): void {
    if (this.link !== undefined && id === this.link.id) this.link.receive(frames);
  }

  setResources(resources: ResourcesParams): Promise<ResourcesResult> {
    return this.call(SetResources, resources);
  }

  answer(answers: ApprovalAnswers): Promise<ResourcesResult> {
    return this.call(AnswerApprovals, answers);
  }

  test(resource: string, signal: AbortSignal): Promise<TestResult> {
    return this.call(TestResource, { resource }, signal);
  }

  testAll(): Promise<GatewayStatus> {
    return this.helper?.call(CheckHealth) ?? Promise.reject(new Error('the session is not open yet'));
  }

  /** Returns the command line of a program that has flows to a resource; rejects if the gateway does not tell. */
  async arguments(client: ClientParams): Promise<string> {
    return (await this.call(GetClientArguments, client)).arguments;
  }

  /** Calls on with every change of the flows, until on is undefined or the session ends. */
  async watchFlows(on: FlowsListener): Promise<void> {
    this.flows = on;
    await this.helper?.call(on ? SubscribeFlows : UnsubscribeFlows);
  }

  setLogLevel(level: LogLevel): Promise<unknown> {
    return this.call(SetLogLevel, { level });
  }

  /** Ends the session at both ends and waits for that. Idempotent. */
  async close(): Promise<void> {
    this.stop('closed');
    const { helper, session = this.options.resume } = this;
    if (session !== undefined && !this.closed) {
      this.closed = true;
      // The gateway comes first, while the link can still carry the reason.
      if (helper !== undefined) {
        await within(helper.call(SessionClose), TIMES.close, 'the end of the session').catch(() => {});
      }
      await this.options.companion.end(session);
    }
    this.link?.close();
    await helper?.close();
  }

  /** Leaves the session, which waits at both ends until it is resumed. Idempotent. */
  async leave(): Promise<void> {
    this.stop('left');
    if (this.link !== undefined) {
      this.link.close();
      this.options.companion.close(this.link.id);
    }
    await this.helper?.leave();
  }

  private async establish(): Promise<void> {
    const { companion, resume, events, signal } = this.options;
    const helper = await this.reach().catch((error) => {
      // A gateway that needs the user's help no longer has our session.
      throw resume !== undefined && error instanceof Trouble ? new SessionOver(error.message, { cause: error }) : error;
    });
    // The companion may take long to start, so first make sure that the session still exists.
    const known = resume === undefined ? undefined : await this.openSession(helper, false);
    events.step('companion');
    await this.guard(companion.hello(signal, resume === undefined));
    const opened = known ?? (await this.openSession(helper, false));
    try {
      await this.join(helper, opened);
    } catch (error) {
      if (!(error instanceof SessionOver) || resume !== undefined) throw error;
      await this.renew(helper);
    }
    this.status(await this.guard(helper.call(GetGatewayStatus), TIMES.handshake, 'the gateway helper'));
    await this.guard(this.connected, TIMES.link, 'the capture');
    void this.goDirect(helper);
  }

  /** Asks the gateway to keep direct links, if the editor can forward a port. */
  private async goDirect(helper: Helper): Promise<void> {
    const { port } = this;
    const { forward } = this.options.platform;
    if (forward === undefined || port === undefined) return;
    const why = await useForwarded(forward, port, (to) => dialLink(helper, to, () => this.over), TIMES.link);
    if (why !== undefined && !this.over) this.options.log({ level: 'info', message: `no direct link: ${why}` });
  }

  /** Starts or reaches the gateway helper. */
  private async reach(): Promise<Helper> {
    const { platform, settings, logLevel, version, events, signal } = this.options;
    events.step('gateway');
    const gateway = await platform.gateway({ port: settings.localHelperPort, log: this.options.log, signal });
    const helper = new Helper(gateway.wire, {
      frame: (bytes) => this.link?.push(bytes),
      ended: (reason) => this.lose(`the gateway helper is gone: ${reason}`),
    });
    this.helper = helper;
    this.listen(helper);
    const hello = helper.initialize({ name: 'causeway-ui', version }, gateway.token);
    await this.guard(understandable(hello), TIMES.handshake, 'the gateway helper');
    await this.setLogLevel(logLevel);
    return helper;
  }

  private async openSession(helper: Helper, fresh: boolean): Promise<GatewayOpenResult> {
    const { platform, identity, settings, resources, resume, events } = this.options;
    events.step('session');
    const opening = helper.call(GatewayOpen, {
      authority: identity.authority,
      workspace: identity.workspace,
      strictProxy: settings.strictProxy,
      fresh,
      resumeOnly: resume !== undefined,
      resumeSeconds: settings.resumeMinutes * 60,
      ...resources,
    });
    const opened = await this.guard(
      understandable(opening),
      platform.approvals === 'helper' ? TIMES.answer : TIMES.handshake,
      'opening a session at the gateway',
    );
    this.session = opened.session;
    events.resources({ problems: opened.problems, approvals: opened.approvals });
    return opened;
  }

  /** Joins both helpers by a link. */
  private async join(helper: Helper, opened: GatewayOpenResult): Promise<void> {
    const { companion, events, signal } = this.options;
    events.step('capture');
    const link = new CommandLink({
      id: randomId(),
      wire: helper.wire,
      send: (frames) => companion.frames(link.id, frames),
      lost: (reason) => this.lose(reason),
    });
    this.link = link;
    await this.guard(helper.call(LinkOpen, { kind: 'command' }), TIMES.handshake, 'opening the link');
    const open = linkRequest(this.options, link.id, opened);
    this.port = await this.guard(companion.open(open, signal));
    events.step('link');
    void companion.watch(link.id).then((reason) => {
      if (this.link === link) this.lose(reason);
    });
    link.start();
  }

  /** Opens a new session if only the gateway still has the old one. */
  private async renew(helper: Helper): Promise<void> {
    this.renewing = true; // ignores events of the old session
    this.link?.close();
    this.link = undefined;
    await this.guard(helper.call(SessionClose), TIMES.handshake, 'the gateway helper');
    this.renewing = false;
    await this.join(helper, await this.openSession(helper, true));
  }

  private listen(helper: Helper): void {
    helper.on(GatewayStatusChanged, (status) => this.status(status));
    helper.on(ApprovalsChanged, (result) => this.options.events.resources(result));
    helper.on(LinkClosedByHelper, ({ reason }) => this.lose(plain(reason)));
    helper.on(FlowsChanged, (delta) => this.flows?.(delta));
    helper.on(Log, (message) => this.options.log(message));
  }

  private call<P, R>(type: RequestType<P, R, void>, params: P, signal?: AbortSignal): Promise<R> {
    if (this.helper === undefined) return Promise.reject(new Error('the session is not open yet'));
    return this.helper.call(type, params, signal);
  }

  private status(status: GatewayStatus): void {
    if (this.over || this.renewing) return;
    if (status.state === 'closed') {
      this.end(plain(status.reason ?? 'the gateway ended the session'));
      return;
    }
    this.options.events.status(status);
    if (status.state === 'connected') this.up();
  }

  /** Settles like promise, but rejects if the session ends, the attempt is cancelled, or ms go by. */
  private guard<T>(promise: Promise<T>, ms = 2 ** 31 - 1, what = ''): Promise<T> {
    promise.catch(() => {});
    const ended = this.connected.then(() => new Promise<never>(() => {}));
    return within(Promise.race([promise, ended]), ms, what, this.options.signal);
  }

  private end(reason: string): void {
    if (this.stop(reason)) this.options.events.ended(reason);
  }

  private lose(reason: string): void {
    if (!this.renewing && this.stop(reason)) this.options.events.lost(reason);
  }

  /** Returns whether the connection was still open. */
  private stop(reason: string): boolean {
    if (this.over) return false;
    this.over = true;
    this.link?.close();
    this.down(new Error(reason));
    return true;
  }
}
