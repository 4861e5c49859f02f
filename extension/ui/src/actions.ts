import * as vscode from 'vscode';
import { isActive, type SessionState } from '../../shared/src/session';
import type { CommandId } from './commands';

interface Action extends vscode.QuickPickItem {
  command: CommandId;
}

/** Returns what a click on the status bar offers in a state. */
export function actionsFor(state: SessionState, browser: boolean): Action[] {
  const { t } = vscode.l10n;
  const connected = state.kind === 'connected';
  const review = !browser && 'approvals' in state && state.approvals > 0;
  const all: (Action | false)[] = [
    !isActive(state) && { label: `$(plug) ${t('Connect')}`, command: 'causeway.connect' },
    review && { label: `$(shield) ${t('Review Approvals…')}`, command: 'causeway.reviewApprovals' },
    connected && { label: `$(pulse) ${t('Show Connections')}`, command: 'causeway.showConnections' },
    connected && { label: `$(beaker) ${t('Test Resource…')}`, command: 'causeway.testResource' },
    connected && { label: `$(run-all) ${t('Test All')}`, command: 'causeway.testAll' },
    connected && { label: `$(terminal) ${t('New Terminal with Causeway')}`, command: 'causeway.newTerminal' },
    connected && { label: `$(copy) ${t('Copy Proxy Address')}`, command: 'causeway.copyProxyAddress' },
    { label: `$(add) ${t('Add Resource…')}`, command: 'causeway.addResource' },
    { label: `$(search) ${t('Suggest Resources from the Workspace…')}`, command: 'causeway.suggestResources' },
    { label: `$(gear) ${t('Open Settings')}`, command: 'causeway.openSettings' },
    { label: `$(output) ${t('Show Log')}`, command: 'causeway.showLog' },
    browser &&
      !isActive(state) && { label: `$(key) ${t('Pair with Local Helper')}`, command: 'causeway.pairLocalHelper' },
    isActive(state) && { label: `$(debug-disconnect) ${t('Disconnect')}`, command: 'causeway.disconnect' },
  ];
  return all.filter((action) => action !== false);
}

export async function showActions(state: SessionState, browser: boolean): Promise<void> {
  const chosen = await vscode.window.showQuickPick(actionsFor(state, browser), { title: 'Causeway' });
  if (chosen) await vscode.commands.executeCommand(chosen.command);
}
