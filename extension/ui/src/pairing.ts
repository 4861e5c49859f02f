import * as vscode from 'vscode';

const KEY = 'causeway.pairing';
/** Returns the token of the local helper that this browser is paired with. */
export async function pairingToken(secrets: vscode.SecretStorage): Promise<string | undefined> {
  return (await secrets.get(KEY)) || undefined;
}

/** Asks for the token that the helper has printed, and stores it. Resolves with false if the user cancels. */
export async function pairByToken(secrets: vscode.SecretStorage): Promise<boolean> {
  const token = await vscode.window.showInputBox({
    title: vscode.l10n.t('Pair with a Token'),
    prompt: vscode.l10n.t(
      'Run "causeway gateway --listen 127.0.0.1:7741" on this machine. Paste the pairing token that it prints.',
    ),
    password: true,
    ignoreFocusOut: true,
    validateInput: (text) =>
      text.trim() === '' || /\s/.test(text.trim()) ? vscode.l10n.t('Enter the token. It has no spaces.') : undefined,
  });
  if (token === undefined) return false;
  await keepToken(secrets, token.trim());
  return true;
}

/** Stores the token of the helper. */
export async function keepToken(secrets: vscode.SecretStorage, token: string): Promise<void> {
  await secrets.store(KEY, token);
}
