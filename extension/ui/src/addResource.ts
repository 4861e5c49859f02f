import * as vscode from 'vscode';
import { entryOf, hostMistake, isLocalhost, nameMistake, portsMistake } from './resourceEntry';

const TITLE = 'Add Resource';

/**
 * Asks for a resource and writes it to the user's settings. That only proposes
 * it: the gateway asks for approval as for any other.
 */
export async function addResource(configuration: vscode.WorkspaceConfiguration): Promise<void> {
  const host = await ask(
    1,
    'Host to reach from the remote: a name, an address, a CIDR, or *.domain',
    'orders-db.corp.test',
    hostMistake,
  );
  if (host === undefined) return;
  const ports = await ask(
    2,
    'Ports: numbers, ranges, and maps of a remote port to the real one',
    '5432, 8000-8010, 15432:5432',
    portsMistake,
  );
  if (ports === undefined) return;
  const local = isLocalhost(host);
  const as = local
    ? await ask(3, 'Name that the remote uses for this machine', 'laptop.causeway.internal', nameMistake)
    : await ask(3, 'Another name for it on the remote (empty: its own)', '', (text) =>
        text.trim() === '' ? undefined : nameMistake(text),
      );
  if (as === undefined) return;

  const entry = entryOf(host, ports, as);
  const list = configuration.inspect('resources')?.globalValue;
  if (list !== undefined && !Array.isArray(list)) {
    throw new Error('causeway.resources is not a list: correct it in settings.json first');
  }
  await configuration.update('resources', [...(list ?? []), entry], vscode.ConfigurationTarget.Global);
  const edit = 'Edit settings.json';
  const answer = await vscode.window.showInformationMessage(`Added ${entry.host} to causeway.resources.`, edit);
  if (answer === edit)
    await vscode.commands.executeCommand('workbench.action.openSettingsJson', {
      revealSetting: { key: 'causeway.resources' },
    });
}

async function ask(
  step: number,
  prompt: string,
  placeHolder: string,
  mistake: (text: string) => string | undefined,
): Promise<string | undefined> {
  const text = await vscode.window.showInputBox({
    title: `${TITLE} (${step}/3)`,
    prompt,
    placeHolder,
    ignoreFocusOut: true,
    validateInput: mistake,
  });
  return text?.trim();
}
