import * as vscode from 'vscode';
import { errorText, sentence } from '../../shared/src/text';
import { within } from '../../shared/src/wait';
import { COMPANION_ID } from './companion';
import { Trouble } from './trouble';

/** For a download through a slow link. */
const INSTALL_MS = 180_000;

/**
 * Installs the companion on the remote, or updates it: from the VSIX file beside this extension, if the package brought
 * one, or else from the gallery. Rejects with a Trouble that says what else the user can do.
 */
export async function installCompanion(extension: vscode.Uri, what: 'install' | 'update'): Promise<void> {
  const file = vscode.Uri.joinPath(extension, 'companion.vsix');
  const isThere = await vscode.workspace.fs.stat(file).then(
    () => true,
    () => false,
  );
  const title =
    what === 'install'
      ? vscode.l10n.t('Installing the Causeway companion on the remote…')
      : vscode.l10n.t('Updating the Causeway companion on the remote…');
  try {
    await vscode.window.withProgress({ location: vscode.ProgressLocation.Notification, title }, () =>
      within(
        vscode.commands.executeCommand('workbench.extensions.installExtension', isThere ? file : COMPANION_ID),
        INSTALL_MS,
        'installing',
      ),
    );
  } catch (error) {
    throw new Trouble(
      vscode.l10n.t(
        'The Causeway companion could not be installed on the remote. {0} Install the file causeway-remote-….vsix of the same version in this window, then connect again.',
        sentence(errorText(error)),
      ),
      [
        { title: vscode.l10n.t('Install from VSIX…'), command: 'workbench.extensions.action.installVSIX' },
        { title: vscode.l10n.t('Try Again'), command: 'causeway.connect' },
      ],
      { cause: error },
    );
  }
}
