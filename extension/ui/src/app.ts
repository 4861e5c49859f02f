import * as vscode from 'vscode';
import { UI_FRAMES } from '../../shared/src/bridge';
import { writeLog } from '../../shared/src/log';
import type { LogLevel, Problem, ResourcesParams, ResourcesResult } from '../../shared/src/protocol';
import { isActive, type SessionState } from '../../shared/src/session';
import { errorText } from '../../shared/src/text';
import { AddLinks } from './addLink';
import { addResource } from './addResource';
import { Approvals } from './approvals';
import { registerCommands } from './commands';
import { Companion } from './companion';
import { Connection } from './connection';
import type { ConnectionEvents, ConnectionOptions } from './connectionOptions';
import { Controller } from './controller';
import { firstContact } from './firstContact';
import { handlers } from './handlers';
import { type Identity, identify } from './identity';
import { installCompanion } from './installCompanion';
import { askApprovals, showProblem, showTrouble } from './messages';
import { Panel } from './panel';
import type { Platform } from './platform';
import { Problems } from './problems';
import { CREDENTIALS_KEY, proxyCredentials } from './proxyCredentials';
import { ResourceTree } from './resourceTree';
import { readResources, readSettings } from './settings';
import { SettingsDiagnostics } from './settingsDiagnostics';
import { SettingsWatcher } from './settingsWatcher';
import { StatusBar } from './statusBar';
import { TestReports } from './testReport';
import { Trouble } from './trouble';

/** Keys of the workspace's state: the session to resume, and when the user was asked to restart the extensions. */
const SESSION = 'session';
const RESTART = 'restart';
const RESTART_MS = 10 * 60_000;
const END_MS = 10_000;

const configuration = () => vscode.workspace.getConfiguration('causeway');
const settings = () => readSettings(configuration());

/** The UI extension: what it shows, and the controller behind it. */
export class App {
  private readonly log = vscode.window.createOutputChannel('Causeway', { log: true });
  private readonly statusBar: StatusBar;
  private readonly tree = new ResourceTree(
    async (client) => (await this.controller.connection?.arguments(client)) ?? '',
  );
  private readonly mistakes = new Problems();
  private readonly diagnostics: SettingsDiagnostics;
  private readonly approvals: Approvals;
  private readonly panel: Panel;
  private readonly companion: Companion;
  private readonly controller: Controller;
  private readonly version: string;
  private problems: Problem[] = [];
  private identity: Identity | undefined;
  private readonly shown = new Map<string, unknown>();

  constructor(
    private readonly context: vscode.ExtensionContext,
    private readonly platform: Platform,
  ) {
    const { workspaceState } = context;
    this.version = (context.extension.packageJSON as { version: string }).version;
    this.statusBar = new StatusBar(platform.approvals);
    this.diagnostics = new SettingsDiagnostics(context.globalStorageUri);
    this.companion = new Companion({
      execute: (command, ...args) => vscode.commands.executeCommand(command, ...args),
      version: this.version,
      install: (what) => installCompanion(context.extensionUri, what),
      connectAfterRestart: () => void workspaceState.update(RESTART, Date.now()),
      log: (text) => this.log.warn(text),
    });
    const actions = {
      review: () => void vscode.commands.executeCommand('causeway.reviewApprovals'),
      add: (host: string, port: number) =>
        void addResource(configuration(), { host, ports: String(port) }).catch((error) => this.report(error)),
      failed: (error: unknown) => this.report(error),
    };
    this.panel = new Panel(context.extensionUri, actions, platform.approvals);
    this.approvals = new Approvals(
      async (approvals) => (this.identity === undefined ? [] : askApprovals(approvals, this.identity)),
      (error) => this.report(error),
    );
    this.controller = new Controller({
      open: (events, resume, signal) => this.open(events, resume, signal),
      end: (session) => this.end(session),
      persistent: () => settings().autoConnect,
      resumeMs: () => settings().resumeMinutes * 60_000,
      remember: (session) => void workspaceState.update(SESSION, session),
      changed: (state) => this.draw(state),
      resources: (result, connection) => this.review(result, connection),
      trouble: showTrouble,
      log: (text) => this.log.warn(text),
    });
    this.register();
    this.start();
  }

  /** Leaves the session, which resumes when this window comes back. */
  leave(): Promise<void> {
    return this.controller.leave();
  }

  private register(): void {
    const { context, controller, approvals, diagnostics, log, tree } = this;
    const { secrets, subscriptions } = context;
    const reports = new TestReports();
    const browser = this.platform.approvals === 'helper';
    const commands = handlers({
      controller,
      approvals,
      reports,
      diagnostics,
      configuration,
      log,
      secrets,
      install: () => installCompanion(context.extensionUri, 'install'),
      browser,
      pairAnew: this.platform.pairAnew,
    });
    subscriptions.push(
      log,
      this.statusBar,
      tree,
      this.panel,
      reports,
      diagnostics,
      vscode.commands.registerCommand(UI_FRAMES, (link: unknown, ...frames: unknown[]) =>
        controller.receive(link, frames),
      ),
      vscode.window.registerUriHandler(new AddLinks(configuration, (error) => this.report(error))),
      registerCommands(commands, (error) => this.report(error)),
      new SettingsWatcher(
        () => this.applyResources(),
        (error) => this.report(error),
      ),
      log.onDidChangeLogLevel(() => {
        controller.connection?.setLogLevel(this.logLevel()).catch((error: unknown) => this.report(error));
      }),
      vscode.workspace.onDidGrantWorkspaceTrust(() => {
        tree.trusted(true);
        this.greet();
      }),
      secrets.onDidChange(({ key }) => {
        if (key === CREDENTIALS_KEY) this.applyResources().catch((error: unknown) => this.report(error));
      }),
    );
    this.setContext('browser', browser);
    tree.trusted(vscode.workspace.isTrusted);
  }

  private start(): void {
    const { controller } = this;
    const { workspaceState } = this.context;
    void this.applyResources();
    this.draw(controller.state);
    if (vscode.env.remoteName === undefined) return;
    const session = workspaceState.get(SESSION);
    const restart = workspaceState.get(RESTART);
    if (restart !== undefined) void workspaceState.update(RESTART, undefined);
    const expected = typeof restart === 'number' && Date.now() - restart < RESTART_MS;
    if (settings().autoConnect || expected) void controller.connect();
    else if (typeof session === 'string') void controller.resume(session);
    else this.greet();
  }

  /** Greets a user who has not connected yet and does not connect by itself. */
  private greet(): void {
    const { controller } = this;
    const { workspaceState } = this.context;
    if (vscode.env.remoteName === undefined || settings().autoConnect || isActive(controller.state)) return;
    if (typeof workspaceState.get(SESSION) === 'string') return;
    firstContact(workspaceState, configuration(), () => controller.connect()).catch((error: unknown) =>
      this.report(error),
    );
  }

  private async open(events: ConnectionEvents, resume: string | undefined, signal: AbortSignal): Promise<Connection> {
    const options = await this.connection(events, resume, signal);
    this.log.info(`connecting ${options.identity.authority}`);
    return Connection.open(options);
  }

  private async end(session: string): Promise<void> {
    const quiet = () => {};
    const events = { opened: quiet, step: quiet, status: quiet, resources: quiet, ended: quiet, lost: quiet };
    await Connection.end(await this.connection(events, session, AbortSignal.timeout(END_MS)));
  }

  /** The lists, the exits, and the credentials of proxies among the exits. */
  private async resources(): Promise<ResourcesParams> {
    const lists = readResources(configuration(), vscode.workspace.isTrusted);
    if (this.platform.approvals === 'helper') return lists;
    const credentials = await proxyCredentials(this.context.secrets);
    return credentials === undefined ? lists : { ...lists, credentials };
  }

  private async applyResources(): Promise<void> {
    const lists = await this.resources();
    const asked = [lists.resources, lists.workspaceResources].some((list) => Array.isArray(list) && list.length > 0);
    this.setContext('hasResources', asked);
    await this.controller.setResources(lists);
  }

  private async connection(
    events: ConnectionEvents,
    resume: string | undefined,
    signal: AbortSignal,
  ): Promise<ConnectionOptions> {
    const { platform, companion, version } = this;
    const { workspaceFile, workspaceFolders, name } = vscode.workspace;
    const identity = identify(vscode.env.remoteName, workspaceFile, workspaceFolders?.[0]?.uri, name);
    if (identity === undefined) {
      throw new Trouble(
        vscode.l10n.t('This window is not connected to a remote environment. Open one, then connect Causeway there.'),
      );
    }
    this.identity = identity;
    return {
      platform,
      companion,
      identity,
      settings: settings(),
      resources: await this.resources(),
      resume,
      version,
      events,
      logLevel: this.logLevel(),
      log: (message) => writeLog(this.log, { ...message, message: `gateway: ${message.message}` }),
      signal,
    };
  }

  /** The level of our log, which the user sets by "Developer: Set Log Level…". */
  private logLevel(): LogLevel {
    switch (this.log.logLevel) {
      case vscode.LogLevel.Trace:
        return 'trace';
      case vscode.LogLevel.Debug:
        return 'debug';
      case vscode.LogLevel.Warning:
        return 'warn';
      case vscode.LogLevel.Error:
      case vscode.LogLevel.Off:
        return 'error';
      case vscode.LogLevel.Info:
        return 'info';
    }
  }

  private draw(state: SessionState): void {
    this.statusBar.show(state);
    this.tree.show(state, this.problems);
    this.panel.update(state, this.controller.connection);
    this.setContext('state', state.kind);
    this.setContext('active', isActive(state));
    this.setContext('approvals', 'approvals' in state && state.approvals > 0);
  }

  /** Shows the mistakes in the lists, and asks for approvals if the editor has to ask. */
  private review(result: ResourcesResult | undefined, connection: () => Connection | undefined): void {
    this.problems = result?.problems ?? [];
    if (this.platform.approvals === 'dialog') this.approvals.update(result, connection);
    this.tree.show(this.controller.state, this.problems);
    this.showProblems(this.problems).catch((error: unknown) => this.report(error));
  }

  /** Shows mistakes at their lines. A message tells of those that are in no settings file. */
  private async showProblems(problems: Problem[]): Promise<void> {
    const elsewhere = await this.diagnostics.show(problems);
    const { told, fresh } = this.mistakes.note(elsewhere);
    for (const text of told) showProblem(text);
    for (const text of fresh) this.log.warn(text);
  }

  private report(error: unknown): void {
    this.log.error(errorText(error));
    showTrouble(error);
  }

  /** Sets a key that the manifest's when clauses read. */
  private setContext(key: 'browser' | 'state' | 'active' | 'approvals' | 'hasResources', value: unknown): void {
    if (this.shown.get(key) === value) return;
    this.shown.set(key, value);
    void vscode.commands.executeCommand('setContext', `causeway.${key}`, value);
  }
}
