import { l10n } from 'vscode';
import type { Approval } from '../../shared/src/protocol';
import { plain, sentence } from '../../shared/src/text';
import type { Identity } from './identity';

/** The question of a dialog: a headline, and everything that the answer holds for. */
export interface Question {
  message: string;
  detail: string;
}

/** Returns the question for one resource. */
export function approvalText(approval: Approval, identity: Identity): Question {
  const { host, ports, protocols, addresses, as, exit, programs, description, differences, warnings, name } = approval;
  const list = (texts: string[], max?: number) => plain(texts.join(', '), max);
  const lines = [
    l10n.t('Name: {0}', plain(name)),
    l10n.t('Host: {0}', plain(host)),
    ...(ports.length ? [l10n.t('Ports: {0}', list(ports))] : []),
    l10n.t('Protocols: {0}', list(protocols)),
  ];
  if (addresses?.length) lines.push(l10n.t('Only at addresses in: {0}', list(addresses)));
  if (as) lines.push(l10n.t('Name on the remote: {0}', plain(as)));
  if (exit) lines.push(l10n.t('Through the exit: {0}', plain(exit, 2100)));
  if (programs?.length) lines.push(l10n.t('Only for the programs: {0}', list(programs, 1000)));
  if (description) lines.push(l10n.t('Description: {0}', plain(description)));
  lines.push(origin(approval), ...place(identity));
  for (const warning of warnings ?? []) lines.push('', `⚠ ${sentence(warning)}`);
  if (differences?.length) {
    const nothing = l10n.t('nothing');
    lines.push('', l10n.t('Changes since you last allowed it:'));
    for (const { field, was, is } of differences) {
      lines.push(`• ${plain(field)}: ${plain(was || nothing)} → ${plain(is || nothing)}`);
    }
  }
  const message =
    approval.change === 'changed'
      ? l10n.t('Let the remote still reach {0} through this machine?', plain(host))
      : l10n.t('Let the remote reach {0} through this machine?', plain(host));
  return { message, detail: lines.join('\n') };
}

/** Returns the question for several resources: one line names everything that the answer holds for. */
export function approvalsText(approvals: Approval[], identity: Identity): Question {
  const lines = approvals.map((approval) => `• ${summary(approval)}`);
  return {
    message: l10n.t('Let the remote reach these {0} resources through this machine?', approvals.length),
    detail: [...lines, '', ...place(identity)].join('\n'),
  };
}

/** Returns everything that an approval holds for, in one line. */
export function summary(approval: Approval): string {
  const { name, host, ports, protocols, addresses, as, exit, programs } = approval;
  const target = `${plain(host)}${ports.length ? `:${plain(ports.join(','))}` : ''} (${plain(protocols.join(', '))})`;
  const parts = [name === host ? target : `${plain(name)}: ${target}`];
  if (as) parts.push(l10n.t('as {0}', plain(as)));
  if (addresses?.length) parts.push(l10n.t('only at addresses in {0}', plain(addresses.join(', '))));
  if (exit) parts.push(l10n.t('through the exit {0}', plain(exit, 2100)));
  if (programs?.length) parts.push(l10n.t('only for {0}', plain(programs.join(', '), 1000)));
  if (approval.from === 'workspace') parts.push(l10n.t('the workspace asks for it'));
  return parts.join('; ');
}

function origin({ from }: Approval): string {
  return from === 'workspace'
    ? l10n.t('Asked for by: the settings of this workspace')
    : l10n.t('Asked for by: your user settings');
}

function place({ remoteLabel, workspaceLabel }: Identity): string[] {
  return [
    l10n.t('Remote: {0}', plain(remoteLabel)),
    ...(workspaceLabel ? [l10n.t('Workspace: {0}', plain(workspaceLabel))] : []),
  ];
}
