import * as vscode from 'vscode';
import { plain } from '../../shared/src/text';
import { findHosts, offerHosts } from './suggestResources';

const KEY = 'causeway.greeted';
const MOST_NAMED = 2;

/**
 * Tells a user who has no resources yet that this workspace names private hosts, and offers them. It does so once
 * for each workspace, and only if the user trusts the workspace.
 */
export async function firstContact(
  state: vscode.Memento,
  configuration: vscode.WorkspaceConfiguration,
  connect: () => Promise<unknown>,
): Promise<void> {
  const has = (list: unknown) => Array.isArray(list) && list.length > 0;
  const used =
    has(configuration.inspect('resources')?.globalValue) ||
    has(configuration.inspect('workspaceResources')?.workspaceValue);
  if (used || state.get(KEY) !== undefined || !vscode.workspace.isTrusted) return;
  const found = await findHosts(configuration);
  if (found.length === 0) return;
  await state.update(KEY, true);
  const hosts = [...new Set(found.map(({ suggestion }) => plain(suggestion.host)))];
  const named = hosts.slice(0, MOST_NAMED).join(', ');
  const more = hosts.length - MOST_NAMED;
  const text =
    more > 0
      ? vscode.l10n.t('This workspace uses {0} and other private hosts ({1} more).', named, more)
      : vscode.l10n.t('This workspace uses {0}.', named);
  const choose = vscode.l10n.t('Choose…');
  const question = vscode.l10n.t('Causeway can let this remote reach it through your machine.');
  if ((await vscode.window.showInformationMessage(`${text} ${question}`, choose)) === choose) {
    await offerHosts(configuration, found, connect);
  }
}
