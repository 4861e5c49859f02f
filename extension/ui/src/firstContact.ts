import * as vscode from 'vscode';
import { notice, plain } from '../../shared/src/text';
import { findHosts, offerHosts } from './suggestResources';

const KEY = 'causeway.greeted';
/**
 * Tells a user who has no resources yet that this workspace names private hosts, and offers them. It does so once
 * for each workspace, also if it finds none, and only if the user trusts the workspace.
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
  await state.update(KEY, true);
  if (found.length === 0) return;
  const hosts = [...new Set(found.map(({ suggestion }) => plain(suggestion.host)))];
  const choose = vscode.l10n.t('Choose…');
  if ((await vscode.window.showInformationMessage(notice(greeting(hosts)), choose)) === choose) {
    await offerHosts(configuration, found, connect);
  }
}

/** Each case is a whole text, since languages differ in how they count. */
function greeting([first = '', second, ...more]: string[]): string {
  if (second === undefined) {
    return vscode.l10n.t('This workspace uses {0}. Causeway can let this remote reach it through your machine.', first);
  }
  if (more.length === 0) {
    return vscode.l10n.t(
      'This workspace uses {0} and {1}. Causeway can let this remote reach them through your machine.',
      first,
      second,
    );
  }
  if (more.length === 1) {
    return vscode.l10n.t(
      'This workspace uses {0}, {1} and another private host. Causeway can let this remote reach them through your machine.',
      first,
      second,
    );
  }
  return vscode.l10n.t(
    'This workspace uses {0}, {1} and {2} other private hosts. Causeway can let this remote reach them through your machine.',
    first,
    second,
    more.length,
  );
}
