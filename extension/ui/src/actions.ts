import * as vscode from 'vscode';
import { isActive, type SessionState } from '../../shared/src/session';
import type { CommandId } from './commands';

interface Action extends vscode.QuickPickItem {
  command: CommandId;
}

/** What a click on the status bar offers in a state. */
export function actionsFor(state: SessionState, browser: boolean): Action[] {
  const connected = state.kind === 'connected';
  const all: (Action | false)[] = [
    !isActive(state) && { label: '$(plug) Connect', command: 'causeway.connect' },
    !browser &&
      'approvals' in state &&
      state.approvals > 0 && { label: '$(shield) Review Approvals…', command: 'causeway.reviewApprovals' },
    connected && { label: '$(beaker) Test Resource…', command: 'causeway.testResource' },
    connected && { label: '$(terminal) New Terminal with Causeway', command: 'causeway.newTerminal' },
    connected && { label: '$(copy) Copy Proxy Address', command: 'causeway.copyProxyAddress' },
    { label: '$(add) Add Resource…', command: 'causeway.addResource' },
    { label: '$(gear) Open Settings', command: 'causeway.openSettings' },
    { label: '$(output) Show Log', command: 'causeway.showLog' },
    browser && { label: '$(key) Pair with Local Helper…', command: 'causeway.pairLocalHelper' },
    isActive(state) && { label: '$(debug-disconnect) Disconnect', command: 'causeway.disconnect' },
  ];
  return all.filter((action) => action !== false);
}

export async function showActions(state: SessionState, browser: boolean): Promise<void> {
  const chosen = await vscode.window.showQuickPick(actionsFor(state, browser), { title: 'Causeway' });
  if (chosen) await vscode.commands.executeCommand(chosen.command);
}
