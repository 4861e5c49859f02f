import * as vscode from 'vscode';
import { UI_FRAMES } from '../../shared/src/bridge';
import { writeLog } from '../../shared/src/log';
import type { Problem, ResourcesResult } from '../../shared/src/protocol';
import { isActive, type SessionState } from '../../shared/src/session';
import { errorText } from '../../shared/src/text';
import { Approvals } from './approvals';
import { registerCommands } from './commands';
import { Companion } from './companion';
import { Connection } from './connection';
import { Controller } from './controller';
import { handlers } from './handlers';
import { type Identity, identify } from './identity';
import { askApproval, showProblem, showTrouble } from './messages';
import type { Platform } from './platform';
import { Problems, problemText } from './problems';
import { ResourceTree } from './resourceTree';
import { readResources, readSettings } from './settings';
import { SettingsWatcher } from './settingsWatcher';
import { StatusBar } from './statusBar';
import { TestReports } from './testReport';
import { Trouble } from './trouble';

/** The running extension; close ends the session and its helper. */
export interface App {
  close(): Promise<void>;
}

/** Builds the extension. Disposables are pushed in the order of their making. */
export function start(context: vscode.ExtensionContext, platform: Platform): App {
  const log = vscode.window.createOutputChannel('Causeway', { log: true });
  const gatewayLog = vscode.window.createOutputChannel('Causeway Gateway', { log: true });
  const { version } = context.extension.packageJSON as { version: string };
  const configuration = () => vscode.workspace.getConfiguration('causeway');
  const settings = () => readSettings(configuration());
  const resources = () => readResources(configuration(), vscode.workspace.isTrusted);

  const statusBar = new StatusBar(platform.approvals);
  const tree = new ResourceTree();
  const reports = new TestReports();
  const companion = new Companion((command, ...args) => vscode.commands.executeCommand(command, ...args), version);
  const mistakes = new Problems();
  let problems: Problem[] = [];
  let identity: Identity | undefined;

  const report = (error: unknown) => {
    log.error(errorText(error));
    showTrouble(error);
  };
  const approvals = new Approvals(
    async (approval) => (identity === undefined ? 'no' : askApproval(approval, identity)),
    report,
  );
  const showResources = (result: ResourcesResult | undefined, connection: () => Connection | undefined) => {
    problems = result?.problems ?? [];
    for (const text of mistakes.fresh(problems)) showProblem(text);
    for (const problem of problems) log.warn(problemText(problem));
    if (platform.approvals === 'dialog') approvals.update(result, connection);
    drawTree(controller.state);
  };
  const drawTree = (state: SessionState) => tree.show(state.kind === 'connected' ? state.status : undefined, problems);

  const controller = new Controller({
    open: (events, signal) => {
      identity = thisWindow();
      if (identity === undefined) {
        throw new Trouble(
          'This window is not connected to a remote environment, so there is nothing to bring resources to.',
        );
      }
      log.info(`connecting ${identity.authority}`);
      return Connection.open({
        platform,
        companion,
        identity,
        settings: settings(),
        resources: resources(),
        version,
        events,
        log: (message) => writeLog(gatewayLog, message),
        signal,
      });
    },
    persistent: () => settings().autoConnect,
    changed: (state) => {
      statusBar.show(state);
      drawTree(state);
      setContext(state);
    },
    resources: showResources,
    trouble: showTrouble,
    log: (text) => log.warn(text),
  });
  const watcher = new SettingsWatcher(async (affected) => {
    const { connection } = controller;
    if (connection === undefined) return;
    if (affected.resources) {
      const result = await connection.setResources(resources());
      showResources(result, () => (controller.connection === connection ? connection : undefined));
    }
    if (affected.logLevel && platform.approvals === 'dialog') await connection.setLogLevel(settings().logLevel);
  }, report);

  context.subscriptions.push(
    log,
    gatewayLog,
    statusBar,
    tree,
    reports,
    watcher,
    vscode.commands.registerCommand(UI_FRAMES, (link: unknown, ...frames: unknown[]) =>
      controller.receive(link, frames),
    ),
    registerCommands(
      handlers({
        controller,
        reports,
        configuration,
        log,
        secrets: context.secrets,
        browser: platform.approvals === 'terminal',
      }),
      report,
    ),
  );
  context.subscriptions.push(vscode.workspace.onDidGrantWorkspaceTrust(() => tree.trusted(true)));
  tree.trusted(vscode.workspace.isTrusted);
  void vscode.commands.executeCommand('setContext', 'causeway.browser', platform.approvals === 'terminal');
  statusBar.show(controller.state);
  setContext(controller.state);
  if (settings().autoConnect && vscode.env.remoteName !== undefined) void controller.connect();
  return { close: () => controller.disconnect() };
}

function thisWindow(): Identity | undefined {
  const { workspaceFile, workspaceFolders, name } = vscode.workspace;
  return identify(vscode.env.remoteName, workspaceFile, workspaceFolders?.[0]?.uri, name);
}

function setContext(state: SessionState): void {
  void vscode.commands.executeCommand('setContext', 'causeway.state', state.kind);
  void vscode.commands.executeCommand('setContext', 'causeway.active', isActive(state));
}
