import * as vscode from 'vscode';
import type { Approval, ApprovalAnswers, Decision } from '../../shared/src/protocol';
import { errorText, notice, plain, sentence } from '../../shared/src/text';
import { approvalsText, approvalText, type Question, summary } from './approvalText';
import type { Identity } from './identity';
import { type Remedy, Trouble } from './trouble';

/** Tells the user of an error. The buttons are what the user can do about it. */
export function showTrouble(error: unknown): void {
  const showLog: Remedy = { title: vscode.l10n.t('Show Log'), command: 'causeway.showLog' };
  const remedies = error instanceof Trouble && error.remedies.length > 0 ? error.remedies : [showLog];
  const text =
    error instanceof Trouble
      ? sentence(error.message, 1000)
      : vscode.l10n.t('Something failed. {0} The log has more.', sentence(errorText(error)));
  void vscode.window
    .showErrorMessage(notice(text.includes('Causeway') ? text : `Causeway: ${text}`), ...remedies)
    .then((chosen) => {
      if (chosen) void vscode.commands.executeCommand(chosen.command, ...(chosen.args ?? []));
    });
}

/**
 * Asks for approval: of one resource in a modal dialog. Of several, the user first picks from a list, and a modal
 * dialog then names exactly those. Only the dialog approves, since any extension can answer a list.
 */
export async function askApprovals(approvals: Approval[], identity: Identity): Promise<ApprovalAnswers['answers']> {
  const picked = approvals.length > 1 ? await pick(approvals) : approvals;
  const [first] = picked;
  if (first === undefined) return [];
  const decision = await decide(
    picked.length > 1 ? approvalsText(picked, identity) : approvalText(first, identity),
    identity.lasting,
  );
  return decision === undefined ? [] : picked.map(({ id }) => ({ id, decision }));
}

async function pick(approvals: Approval[]): Promise<Approval[]> {
  const items = approvals.map((approval) => ({
    label: plain(approval.name),
    detail: summary(approval),
    picked: true,
    approval,
  }));
  const chosen = await vscode.window.showQuickPick(items, {
    title: vscode.l10n.t('Causeway: resources to approve (1/2)'),
    placeHolder: vscode.l10n.t('Choose what the next step asks about. Nothing is approved yet.'),
    canPickMany: true,
    ignoreFocusOut: true,
  });
  return (chosen ?? []).map(({ approval }) => approval);
}

/** Enter presses the first button, and the dialog may appear while the user types: so the first one is "No". */
async function decide({ message, detail }: Question, lasting: boolean): Promise<Decision | undefined> {
  const always = { title: vscode.l10n.t('Always for This Workspace') };
  const once = { title: vscode.l10n.t('Once') };
  const no = { title: vscode.l10n.t('No') };
  const later = { title: vscode.l10n.t('Later'), isCloseAffordance: true };
  const choices = lasting ? [no, once, always, later] : [no, once, later];
  const chosen = await vscode.window.showWarningMessage(message, { modal: true, detail }, ...choices);
  if (chosen === always) return 'always';
  if (chosen === once) return 'once';
  return chosen === no ? 'no' : undefined;
}

/** Tells the user of a mistake that is in no settings file. */
export function showProblem(text: string): void {
  const open = vscode.l10n.t('Open Settings');
  void vscode.window.showWarningMessage(notice(`Causeway: ${text}`), open).then((chosen) => {
    if (chosen === open) void vscode.commands.executeCommand('causeway.openSettings');
  });
}
