import * as vscode from 'vscode';
import { REMOTE } from '../../shared/src/bridge';
import type { Problem } from '../../shared/src/protocol';
import { isActive, type SessionState } from '../../shared/src/session';
import { notice, plain } from '../../shared/src/text';
import { showActions } from './actions';
import type { Approvals } from './approvals';
import type { Handlers } from './commands';
import type { Controller } from './controller';
import { pairByToken } from './pairing';
import { PANEL } from './panel';
import { setProxyCredentials } from './proxyCredentials';
import { chooseResource } from './recipes';
import { copyAddress, copyAs, copyText, removeResource, resourceOf } from './resourceActions';
import type { SettingsDiagnostics } from './settingsDiagnostics';
import { suggestResources } from './suggestResources';
import type { TestReports } from './testReport';
import { allOutcome } from './testText';
import type { Node } from './treeModel';
import { Trouble } from './trouble';

export interface HandlerContext {
  controller: Controller;
  approvals: Approvals;
  reports: TestReports;
  diagnostics: SettingsDiagnostics;
  configuration: () => vscode.WorkspaceConfiguration;
  log: vscode.LogOutputChannel;
  secrets: vscode.SecretStorage;
  /** Installs the companion on the remote. Rejects with a Trouble. */
  install: () => Promise<void>;
  browser: boolean;
  /** Makes the next connection pair by a code; present in the browser. */
  pairAnew?: (() => void) | undefined;
}

/** Returns the handlers of the commands. No command approves a resource, and the gateway dials only approved ones. */
export function handlers({
  controller,
  approvals,
  reports,
  diagnostics,
  configuration,
  log,
  secrets,
  install,
  browser,
  pairAnew,
}: HandlerContext): Handlers {
  return {
    'causeway.connect': () => controller.connect(),
    'causeway.disconnect': () => controller.disconnect(),
    'causeway.addResource': () => chooseResource(configuration()),
    'causeway.suggestResources': () =>
      suggestResources(configuration(), isActive(controller.state) ? undefined : () => controller.connect()),
    'causeway.editResource': (argument) => editResource(diagnostics, argument),
    'causeway.removeResource': (argument) => removeResource(configuration(), argument),
    'causeway.testResource': (argument) => testResource(controller, reports, argument),
    'causeway.testAll': () => testAll(controller),
    'causeway.newTerminal': () => newTerminal(controller),
    'causeway.copyAddress': copyAddress,
    'causeway.copyUrl': (argument) => copyAs(argument, 'url'),
    'causeway.copyCommand': (argument) => copyAs(argument, 'command'),
    'causeway.copyProxyAddress': async () => {
      const proxy = controller.state.kind === 'connected' ? controller.state.status.proxy : undefined;
      if (proxy === undefined) {
        throw new Trouble(
          vscode.l10n.t('The remote has no proxy now. Connect, and check the setting causeway.sources.'),
        );
      }
      await copyText(proxy);
    },
    'causeway.reviewApprovals': () => reviewApprovals(controller.state, approvals, browser),
    'causeway.setProxyCredentials': async () => {
      if (browser) {
        throw new Trouble(
          vscode.l10n.t(
            'In a browser the helper on your machine keeps the credentials of proxies. Start it with --credentials FILE.',
          ),
        );
      }
      await setProxyCredentials(secrets, configuration().inspect('exits')?.globalValue);
    },
    'causeway.showConnections': () => vscode.commands.executeCommand(`${PANEL}.focus`),
    'causeway.showLog': () => log.show(),
    'causeway.openSettings': openSettings,
    'causeway.pairLocalHelper': async () => {
      needBrowser(browser);
      if (isActive(controller.state)) {
        throw new Trouble(
          vscode.l10n.t('Causeway is connected or connecting now. Disconnect, then pair with the local helper again.'),
          [{ title: vscode.l10n.t('Disconnect'), command: 'causeway.disconnect' }],
        );
      }
      pairAnew?.();
      await controller.connect();
    },
    'causeway.pairByToken': async () => {
      needBrowser(browser);
      if (await pairByToken(secrets)) await controller.connect();
    },
    'causeway.installCompanion': () => installAndOffer(install),
    'causeway.showActions': () => showActions(controller.state, browser),
  };
}

/** Asks for the approvals that wait. Says why if there is nothing to ask here. */
function reviewApprovals(state: SessionState, approvals: Approvals, browser: boolean): void {
  if (!('approvals' in state && state.approvals > 0)) {
    throw new Trouble(
      vscode.l10n.t(
        'No resource waits for your approval. If you have denied one, disconnect and connect: Causeway then asks again.',
      ),
    );
  }
  if (browser) {
    throw new Trouble(vscode.l10n.t('Answer on the page of the local helper, or in its terminal: it asks there.'));
  }
  approvals.again();
}

function needBrowser(browser: boolean): void {
  if (browser) return;
  throw new Trouble(
    vscode.l10n.t('You need to pair only in a browser: on the desktop, Causeway starts the helper itself.'),
  );
}

const openSettings = () =>
  vscode.commands.executeCommand('workbench.action.openSettings', '@ext:causeway-dev.causeway');

/** Opens the settings file where the resource or the mistake of a row stands. */
async function editResource(diagnostics: SettingsDiagnostics, argument: unknown): Promise<void> {
  const resource = resourceOf(argument);
  const mistake: Problem | undefined = (argument as Node | null | undefined)?.mistake;
  const opened = resource
    ? await diagnostics.openResource(resource)
    : typeof mistake?.path === 'string' && (await diagnostics.open(mistake));
  if (!opened) await openSettings();
}

async function newTerminal({ state }: Controller): Promise<void> {
  if (state.kind !== 'connected') {
    throw new Trouble(vscode.l10n.t('Causeway is not connected. Connect before you open a terminal with Causeway.'), [
      { title: vscode.l10n.t('Connect'), command: 'causeway.connect' },
    ]);
  }
  let failed: unknown;
  try {
    failed = await vscode.commands.executeCommand(REMOTE.terminal);
  } catch {
    throw new Trouble(
      vscode.l10n.t('The terminal could not be opened: the companion on the remote is too old. Update it.'),
      [{ title: vscode.l10n.t('Update Companion'), command: 'causeway.installCompanion' }],
    );
  }
  if (typeof failed === 'string') {
    throw new Trouble(vscode.l10n.t('The terminal could not be opened: {0}.', plain(failed)));
  }
}

async function testResource(controller: Controller, reports: TestReports, argument: unknown): Promise<void> {
  const { connection, state } = controller;
  if (connection === undefined || state.kind !== 'connected') {
    throw new Trouble(vscode.l10n.t('Causeway is not connected. Connect before you test a resource.'), [
      { title: vscode.l10n.t('Connect'), command: 'causeway.connect' },
    ]);
  }
  const named = typeof argument === 'string' ? argument : resourceOf(argument)?.name;
  const name = named ?? (await pickResource(state.status.resources));
  if (name === undefined) return;
  const progress = {
    location: vscode.ProgressLocation.Notification,
    title: notice(vscode.l10n.t('Testing {0}', plain(name))),
    cancellable: true,
  };
  const result = await vscode.window.withProgress(progress, (_, token) => {
    const abort = new AbortController();
    token.onCancellationRequested(() => abort.abort());
    return connection.test(name, abort.signal).catch((error: unknown) => {
      if (abort.signal.aborted) return undefined;
      throw error;
    });
  });
  if (result !== undefined) await reports.show(name, result);
}

/** Tests all resources. The view shows the results as they come; a message tells the sum. */
async function testAll({ connection, state }: Controller): Promise<void> {
  if (connection === undefined || state.kind !== 'connected') {
    throw new Trouble(vscode.l10n.t('Causeway is not connected. Connect before you test resources.'), [
      { title: vscode.l10n.t('Connect'), command: 'causeway.connect' },
    ]);
  }
  const progress = { location: { viewId: 'causeway.resourcesView' } };
  const status = await vscode.window.withProgress(progress, () => connection.testAll());
  const { ok, text } = allOutcome(status);
  void (ok ? vscode.window.showInformationMessage : vscode.window.showWarningMessage)(text);
}

async function pickResource(resources: { name: string; host: string }[]): Promise<string | undefined> {
  if (resources.length === 0) {
    throw new Trouble(vscode.l10n.t('There is no resource to test. Add one first.'), [
      { title: vscode.l10n.t('Add Resource…'), command: 'causeway.addResource' },
    ]);
  }
  const items = resources.map(({ name, host }) => ({ label: plain(name), description: plain(host), name }));
  return (await vscode.window.showQuickPick(items, { title: vscode.l10n.t('Test Resource') }))?.name;
}

async function installAndOffer(install: () => Promise<void>): Promise<void> {
  await install();
  const connect = vscode.l10n.t('Connect');
  void vscode.window
    .showInformationMessage(vscode.l10n.t('The Causeway companion is installed on the remote.'), connect)
    .then((chosen) => {
      if (chosen) void vscode.commands.executeCommand('causeway.connect');
    });
}
