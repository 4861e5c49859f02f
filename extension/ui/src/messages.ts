import * as vscode from 'vscode';
import type { Approval, Decision } from '../../shared/src/protocol';
import { errorText } from '../../shared/src/text';
import { approvalText } from './approvalText';
import type { Identity } from './identity';
import { type Remedy, Trouble } from './trouble';

const SHOW_LOG: Remedy = { title: 'Show Log', command: 'causeway.showLog' };

/** Tells the user of an error, with what can be done about it as buttons. */
export function showTrouble(error: unknown): void {
  const remedies = error instanceof Trouble ? error.remedies : [SHOW_LOG];
  void vscode.window.showErrorMessage(`Causeway: ${errorText(error)}`, ...remedies).then((chosen) => {
    if (chosen) void vscode.commands.executeCommand(chosen.command, ...(chosen.args ?? []));
  });
}

/** Tells of a mistake in the settings. */
export function showProblem(text: string): void {
  const open = 'Open Settings';
  void vscode.window.showWarningMessage(`Causeway: ${text}`, open).then((chosen) => {
    if (chosen === open) void vscode.commands.executeCommand('causeway.openSettings');
  });
}

/**
 * Asks in a modal dialog, which no other extension can answer. The first button
 * is what Enter presses, and the dialog may come up while the user is typing.
 */
export async function askApproval(approval: Approval, identity: Identity): Promise<Decision | undefined> {
  const { message, detail } = approvalText(approval, identity);
  const always = { title: 'Always for This Workspace' };
  const once = { title: 'Once' };
  const no = { title: 'No' };
  const later = { title: 'Later', isCloseAffordance: true };
  const choices = identity.lasting ? [no, once, always, later] : [no, once, later];
  const chosen = await vscode.window.showWarningMessage(message, { modal: true, detail }, ...choices);
  if (chosen === always) return 'always';
  if (chosen === once) return 'once';
  return chosen === no ? 'no' : undefined;
}
