import type { Approval } from '../../shared/src/protocol';
import { plain, sentence } from '../../shared/src/text';
import type { Identity } from './identity';

/** The question of an approval: a headline, and everything that the answer will hold for. */
export function approvalText(approval: Approval, identity: Identity): { message: string; detail: string } {
  const { host, ports, protocols, addresses, as, exit, programs, description, differences, warnings, from, name } =
    approval;
  const lines = [
    `Name: ${plain(name)}`,
    `Host: ${plain(host)}`,
    ...(ports.length ? [`Ports: ${plain(ports.join(', '))}`] : []),
    `Protocols: ${plain(protocols.join(', '))}`,
  ];
  if (addresses?.length) lines.push(`Only at addresses in: ${plain(addresses.join(', '))}`);
  if (as) lines.push(`Called there: ${plain(as)}`);
  if (exit) lines.push(`By the exit: ${plain(exit, 2100)}`);
  if (programs?.length) lines.push(`Only for the programs: ${plain(programs.join(', '), 1000)}`);
  if (description) lines.push(`Description: ${plain(description)}`);
  lines.push(`Asked for by: ${from === 'workspace' ? 'the settings of this workspace' : 'your user settings'}`);
  lines.push(`Remote: ${plain(identity.remoteLabel)}`);
  if (identity.workspaceLabel) lines.push(`Workspace: ${plain(identity.workspaceLabel)}`);
  for (const warning of warnings ?? []) lines.push('', `⚠ ${sentence(warning)}`);
  if (differences?.length) {
    lines.push('', 'Since you last allowed it:');
    for (const { field, was, is } of differences) {
      lines.push(`• ${plain(field)}: ${plain(was || 'nothing')} → ${plain(is || 'nothing')}`);
    }
  }
  const verb = approval.change === 'changed' ? 'still reach' : 'reach';
  return { message: `Let the remote ${verb} ${plain(host)} through this machine?`, detail: lines.join('\n') };
}
