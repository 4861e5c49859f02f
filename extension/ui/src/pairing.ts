import * as vscode from 'vscode';

const KEY = 'causeway.pairing';

/** The token of the local helper that this browser was paired with. */
export async function pairingToken(secrets: vscode.SecretStorage): Promise<string | undefined> {
  return (await secrets.get(KEY)) || undefined;
}

/** Asks for the token that the helper printed, and keeps it; false if the user gave none. */
export async function pairLocalHelper(secrets: vscode.SecretStorage): Promise<boolean> {
  const token = await vscode.window.showInputBox({
    title: 'Pair with Local Helper',
    prompt:
      'Run "causeway gateway --listen 127.0.0.1:7741" on this machine, and paste the pairing token that it prints',
    password: true,
    ignoreFocusOut: true,
    validateInput: (text) =>
      text.trim() === '' || /\s/.test(text.trim()) ? 'A token without spaces is needed.' : undefined,
  });
  if (token === undefined) return false;
  await secrets.store(KEY, token.trim());
  return true;
}
