import * as vscode from 'vscode';
import type { ResourceStatus } from '../../shared/src/protocol';
import { plain } from '../../shared/src/text';
import { addressOf, commandOf, endpointsOf, urlOf } from './resourceText';
import { entryName } from './settingsFile';
import type { Node } from './treeModel';
import { Trouble } from './trouble';

/** Returns the resource of a row of the tree; undefined for anything else: any extension can pass any argument. */
export function resourceOf(argument: unknown): ResourceStatus | undefined {
  const resource = (argument as Node | null | undefined)?.resource;
  return typeof resource?.name === 'string' ? resource : undefined;
}

export async function copyText(text: string): Promise<void> {
  await vscode.env.clipboard.writeText(text);
  vscode.window.setStatusBarMessage(`$(check) ${vscode.l10n.t('Copied {0}', plain(text))}`, 3000);
}

export async function copyAddress(argument: unknown): Promise<void> {
  const resource = resourceOf(argument);
  const address = resource && addressOf(resource);
  if (address !== undefined) await copyText(address);
}

/** Copies a URL or a command for the resource of a row. Asks which port if there are several. */
export async function copyAs(argument: unknown, what: 'url' | 'command'): Promise<void> {
  const resource = resourceOf(argument);
  if (resource === undefined) return;
  const texts = [...new Set(endpointsOf(resource).map(what === 'url' ? urlOf : commandOf))];
  const [only] = texts;
  const text = texts.length > 1 ? await vscode.window.showQuickPick(texts, { title: vscode.l10n.t('Copy') }) : only;
  if (text !== undefined) await copyText(text);
}

/** Takes the resource of a row out of the user's settings, after a question. */
export async function removeResource(configuration: vscode.WorkspaceConfiguration, argument: unknown): Promise<void> {
  const resource = resourceOf(argument);
  if (resource === undefined) return;
  const name = plain(resource.name);
  const list = configuration.inspect('resources')?.globalValue;
  const others = Array.isArray(list) ? list.filter((entry) => entryName(entry) !== resource.name) : [];
  if (resource.from !== 'user' || !Array.isArray(list) || others.length === list.length) {
    throw new Trouble(vscode.l10n.t('{0} is not in your user settings, so Causeway cannot remove it.', name));
  }
  const remove = { title: vscode.l10n.t('Remove') };
  const answer = await vscode.window.showWarningMessage(
    vscode.l10n.t('Remove {0} from your settings?', name),
    { modal: true, detail: vscode.l10n.t('Its open connections end.') },
    remove,
  );
  if (answer === remove) await configuration.update('resources', others, vscode.ConfigurationTarget.Global);
}
