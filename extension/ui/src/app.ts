import * as vscode from 'vscode';
import { UI_FRAMES } from '../../shared/src/bridge';
import { writeLog } from '../../shared/src/log';
import type { Problem, ResourcesParams, ResourcesResult } from '../../shared/src/protocol';
import { isActive, type SessionState } from '../../shared/src/session';
import { errorText } from '../../shared/src/text';
import { Approvals } from './approvals';
import { registerCommands } from './commands';
import { Companion } from './companion';
import { Connection, type ConnectionEvents, type ConnectionOptions } from './connection';
import { Controller } from './controller';
import { handlers } from './handlers';
import { type Identity, identify } from './identity';
import { askApproval, showProblem, showTrouble } from './messages';
import type { Platform } from './platform';
import { Problems } from './problems';
import { CREDENTIALS_KEY, proxyCredentials } from './proxyCredentials';
import { ResourceTree } from './resourceTree';
import { readResources, readSettings } from './settings';
import { SettingsWatcher } from './settingsWatcher';
import { StatusBar } from './statusBar';
import { TestReports } from './testReport';
import { Trouble } from './trouble';

/** Where the workspace's state has the session to resume. */
const SESSION = 'session';
const END_MS = 10_000;

const configuration = () => vscode.workspace.getConfiguration('causeway');
const settings = () => readSettings(configuration());

/** The UI extension: what it shows, and the controller behind it. */
export class App {
  private readonly log = vscode.window.createOutputChannel('Causeway', { log: true });
  private readonly gatewayLog = vscode.window.createOutputChannel('Causeway Gateway', { log: true });
  private readonly statusBar: StatusBar;
  private readonly tree = new ResourceTree(
    async (client) => (await this.controller.connection?.arguments(client)) ?? '',
  );
  private readonly mistakes = new Problems();
  private readonly approvals: Approvals;
  private readonly companion: Companion;
  private readonly controller: Controller;
  private readonly version: string;
  private readonly secrets: vscode.SecretStorage;
  private problems: Problem[] = [];
  private identity: Identity | undefined;
  private readonly context = new Map<string, unknown>();

  constructor(
    context: vscode.ExtensionContext,
    private readonly platform: Platform,
  ) {
    this.version = (context.extension.packageJSON as { version: string }).version;
    this.secrets = context.secrets;
    this.statusBar = new StatusBar(platform.approvals);
    this.companion = new Companion(
      (command, ...args) => vscode.commands.executeCommand(command, ...args),
      this.version,
    );
    this.approvals = new Approvals(
      async (approval) => (this.identity === undefined ? undefined : askApproval(approval, this.identity)),
      (error) => this.report(error),
    );
    this.controller = new Controller({
      open: (events, resume, signal) => this.open(events, resume, signal),
      end: (session) => this.end(session),
      persistent: () => settings().autoConnect,
      resumeMs: () => settings().resumeMinutes * 60_000,
      remember: (session) => void context.workspaceState.update(SESSION, session),
      changed: (state) => this.draw(state),
      resources: (result, connection) => this.review(result, connection),
      trouble: showTrouble,
      log: (text) => this.log.warn(text),
    });
    const { controller, approvals, log } = this;
    const reports = new TestReports();
    const browser = platform.approvals === 'terminal';
    const commands = handlers({
      controller,
      approvals,
      reports,
      configuration,
      log,
      secrets: context.secrets,
      browser,
    });
    context.subscriptions.push(
      log,
      this.gatewayLog,
      this.statusBar,
      this.tree,
      reports,
      vscode.commands.registerCommand(UI_FRAMES, (link: unknown, ...frames: unknown[]) =>
        controller.receive(link, frames),
      ),
      registerCommands(commands, (error) => this.report(error)),
      new SettingsWatcher(
        async (affected) => {
          if (affected.resources) await controller.setResources(await this.resources());
          if (affected.logLevel && !browser) await controller.connection?.setLogLevel(settings().logLevel);
        },
        (error) => this.report(error),
      ),
      vscode.workspace.onDidGrantWorkspaceTrust(() => this.tree.trusted(true)),
      context.secrets.onDidChange(async ({ key }) => {
        if (key !== CREDENTIALS_KEY) return;
        await controller.setResources(await this.resources()).catch((error) => this.report(error));
      }),
    );
    this.setContext('browser', browser);
    this.tree.trusted(vscode.workspace.isTrusted);
    this.draw(controller.state);
    if (vscode.env.remoteName === undefined) return;
    const session = context.workspaceState.get(SESSION);
    if (settings().autoConnect) void controller.connect();
    else if (typeof session === 'string') void controller.resume(session);
  }

  /** Lets go of the session, which the next life of this window resumes. */
  leave(): Promise<void> {
    return this.controller.leave();
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

  /** The lists and the exits, and what proxies among those are shown. */
  private async resources(): Promise<ResourcesParams> {
    const lists = readResources(configuration(), vscode.workspace.isTrusted);
    if (this.platform.approvals === 'terminal') return lists;
    const credentials = await proxyCredentials(this.secrets);
    return credentials === undefined ? lists : { ...lists, credentials };
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
      throw new Trouble('This window has no remote environment that resources could be brought to.');
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
      log: (message) => writeLog(this.gatewayLog, message),
      signal,
    };
  }

  private draw(state: SessionState): void {
    this.statusBar.show(state);
    this.drawTree(state);
    this.setContext('state', state.kind);
    this.setContext('active', isActive(state));
    this.setContext('approvals', 'approvals' in state && state.approvals > 0);
  }

  private drawTree(state: SessionState): void {
    this.tree.show(state.kind === 'connected' ? state.status : undefined, this.problems);
  }

  /** Tells of mistakes in the lists, and asks for approvals where we are the one to ask. */
  private review(result: ResourcesResult | undefined, connection: () => Connection | undefined): void {
    this.problems = result?.problems ?? [];
    const { told, fresh } = this.mistakes.note(this.problems);
    for (const text of told) showProblem(text);
    for (const text of fresh) this.log.warn(text);
    if (this.platform.approvals === 'dialog') this.approvals.update(result, connection);
    this.drawTree(this.controller.state);
  }

  private report(error: unknown): void {
    this.log.error(errorText(error));
    showTrouble(error);
  }

  /** What the manifest's when clauses read. */
  private setContext(key: 'browser' | 'state' | 'active' | 'approvals', value: unknown): void {
    if (this.context.get(key) === value) return;
    this.context.set(key, value);
    void vscode.commands.executeCommand('setContext', `causeway.${key}`, value);
  }
}
