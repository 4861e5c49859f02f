import * as vscode from 'vscode';
import { REMOTE } from '../../shared/src/bridge';
import { plain } from '../../shared/src/text';
import { showActions } from './actions';
import { addResource } from './addResource';
import type { Approvals } from './approvals';
import type { Handlers } from './commands';
import { COMPANION_ID } from './companion';
import type { Controller } from './controller';
import { pairLocalHelper } from './pairing';
import { setProxyCredentials } from './proxyCredentials';
import type { TestReports } from './testReport';
import { addressOf, type Node } from './treeModel';
import { Trouble } from './trouble';

const RELEASES = 'https://github.com/causeway-dev/causeway/releases';

export interface HandlerContext {
  controller: Controller;
  approvals: Approvals;
  reports: TestReports;
  configuration: () => vscode.WorkspaceConfiguration;
  log: vscode.LogOutputChannel;
  secrets: vscode.SecretStorage;
  browser: boolean;
}

/** What the commands do. None approves anything, and the gateway dials only what is approved. */
export function handlers({
  controller,
  approvals,
  reports,
  configuration,
  log,
  secrets,
  browser,
}: HandlerContext): Handlers {
  return {
    'causeway.connect': () => controller.connect(),
    'causeway.disconnect': () => controller.disconnect(),
    'causeway.addResource': () => addResource(configuration()),
    'causeway.testResource': (argument) => testResource(controller, reports, argument),
    'causeway.newTerminal': () => newTerminal(controller),
    'causeway.copyAddress': async (argument) => {
      const resource = (argument as Node | undefined)?.resource;
      const address = resource && addressOf(resource);
      if (address !== undefined) await copy(address);
    },
    'causeway.copyProxyAddress': async () => {
      const proxy = controller.state.kind === 'connected' ? controller.state.status.proxy : undefined;
      if (proxy === undefined) throw new Trouble('There is no proxy on the remote now.');
      await copy(proxy);
    },
    'causeway.reviewApprovals': () => approvals.again(),
    'causeway.setProxyCredentials': async () => {
      if (browser) {
        throw new Trouble(
          'Where a page is the editor, the credentials of proxies stay with the helper: start it with --credentials FILE.',
        );
      }
      await setProxyCredentials(secrets, configuration().inspect('exits')?.globalValue);
    },
    'causeway.showLog': () => log.show(),
    'causeway.openSettings': () =>
      vscode.commands.executeCommand('workbench.action.openSettings', '@ext:causeway-dev.causeway'),
    'causeway.pairLocalHelper': async () => {
      if (!browser)
        throw new Trouble('On the desktop the helper is started by Causeway itself: there is nothing to pair.');
      if (await pairLocalHelper(secrets)) await controller.connect();
    },
    'causeway.installCompanion': installCompanion,
    'causeway.showActions': () => showActions(controller.state, browser),
  };
}

async function newTerminal({ state }: Controller): Promise<void> {
  if (state.kind !== 'connected') throw new Trouble('Connect before opening such a terminal.');
  let failed: unknown;
  try {
    failed = await vscode.commands.executeCommand(REMOTE.terminal);
  } catch {
    failed = 'the companion is too old for that: update it';
  }
  if (typeof failed === 'string') throw new Trouble(`No terminal was opened: ${plain(failed)}.`);
}

async function testResource(controller: Controller, reports: TestReports, argument: unknown): Promise<void> {
  const { connection, state } = controller;
  if (connection === undefined || state.kind !== 'connected') throw new Trouble('Connect before testing a resource.');
  const name = resourceName(argument) ?? (await pickResource(state.status.resources));
  if (name === undefined) return;
  const progress = {
    location: vscode.ProgressLocation.Notification,
    title: `Testing ${plain(name)}`,
    cancellable: true,
  };
  const result = await vscode.window.withProgress(progress, (_, token) => {
    const abort = new AbortController();
    token.onCancellationRequested(() => abort.abort());
    return connection.test(name, abort.signal).catch((error) => {
      if (abort.signal.aborted) return undefined;
      throw error;
    });
  });
  if (result !== undefined) await reports.show(name, result);
}

function resourceName(argument: unknown): string | undefined {
  if (typeof argument === 'string') return argument;
  const name = (argument as Node | undefined)?.resource?.name;
  return typeof name === 'string' ? name : undefined;
}

async function pickResource(resources: { name: string; host: string }[]): Promise<string | undefined> {
  if (resources.length === 0)
    throw new Trouble('There is no resource yet.', [{ title: 'Add Resource…', command: 'causeway.addResource' }]);
  const items = resources.map(({ name, host }) => ({ label: plain(name), description: plain(host), name }));
  return (await vscode.window.showQuickPick(items, { title: 'Test Resource' }))?.name;
}

async function copy(address: string): Promise<void> {
  await vscode.env.clipboard.writeText(address);
  vscode.window.setStatusBarMessage(`$(check) Copied ${plain(address)}`, 3000);
}

async function installCompanion(): Promise<void> {
  try {
    await vscode.commands.executeCommand('workbench.extensions.installExtension', COMPANION_ID);
  } catch {
    throw new Trouble(
      'The companion could not be installed from the marketplace. Take causeway-companion-….vsix for the remote ' +
        "from the project's releases and install it in this window with “Extensions: Install from VSIX…”.",
      [
        { title: 'Open Releases', command: 'vscode.open', args: [vscode.Uri.parse(RELEASES)] },
        { title: 'Install from VSIX…', command: 'workbench.extensions.action.installVSIX' },
      ],
    );
  }
  void vscode.window
    .showInformationMessage('The Causeway companion is installed on the remote.', 'Connect')
    .then((chosen) => {
      if (chosen) void vscode.commands.executeCommand('causeway.connect');
    });
}
