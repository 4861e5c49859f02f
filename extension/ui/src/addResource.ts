import * as vscode from 'vscode';
import { notice } from '../../shared/src/text';
import { type Entry, entryOf, hostMistake, isLocalhost, nameMistake, portsMistake } from './resourceEntry';

/** Answers that are filled in, in the form in which the user types them. */
export interface Wish {
  host?: string;
  ports?: string;
  as?: string;
  /** A host of the kind that is asked for. The user sees it while the box is empty. */
  example?: string;
  /** A link filled them in, which may come from anyone. */
  link?: boolean;
}

/**
 * Asks for a resource and adds it to the user's settings. This only proposes it: the gateway asks for approval as
 * for any other resource. wish fills in answers, which the user can change.
 */
export async function addResource(configuration: vscode.WorkspaceConfiguration, wish: Wish = {}): Promise<void> {
  const host = await ask(
    1,
    wish.link
      ? vscode.l10n.t('A link asks for this host. Continue only if you expected it and know the host.')
      : vscode.l10n.t('Host that the remote may reach: a name, an address, a CIDR or *.domain'),
    wish.example ?? 'orders-db.corp.test',
    hostMistake,
    wish.host,
  );
  if (host === undefined) return;
  const ports = await ask(
    2,
    vscode.l10n.t('Ports: numbers, ranges, or mappings of a remote port to the real port'),
    '5432, 8000-8010, 15432:5432',
    portsMistake,
    wish.ports,
  );
  if (ports === undefined) return;
  const as = isLocalhost(host)
    ? await ask(
        3,
        vscode.l10n.t(
          'Name that the remote uses for this machine. Enter localhost to have the same port of the remote lead here.',
        ),
        'laptop.causeway.internal',
        nameMistake,
        wish.as,
      )
    : await ask(
        3,
        vscode.l10n.t('Another name for the host on the remote, or localhost. Leave it empty to keep its own name.'),
        '',
        (text) => (text.trim() === '' ? undefined : nameMistake(text)),
      );
  if (as === undefined) return;
  await addEntries(configuration, [entryOf(host, ports, as)]);
}

/** Adds entries to the user's list of resources and offers to open it. Resolves when they are stored. */
export async function addEntries(configuration: vscode.WorkspaceConfiguration, entries: Entry[]): Promise<void> {
  await store(configuration, entries);
  void tellAdded(entries);
}

async function tellAdded(entries: Entry[]): Promise<void> {
  const edit = vscode.l10n.t('Edit settings.json');
  const hosts = entries.map(({ host }) => host).join(', ');
  const answer = await vscode.window.showInformationMessage(
    notice(
      vscode.l10n.t(
        'Added {0} to your resources. Causeway asks for your approval before the remote can reach it.',
        hosts,
      ),
    ),
    edit,
  );
  if (answer === edit) {
    await vscode.commands.executeCommand('workbench.action.openSettingsJson', {
      revealSetting: { key: 'causeway.resources' },
    });
  }
}

/** Adds entries to the user's list of resources. */
export async function store(configuration: vscode.WorkspaceConfiguration, entries: Entry[]): Promise<void> {
  const list = configuration.inspect('resources')?.globalValue;
  if (list !== undefined && !Array.isArray(list)) {
    throw new Error('the setting causeway.resources is not a list. Correct it in settings.json first.');
  }
  await configuration.update('resources', [...(list ?? []), ...entries], vscode.ConfigurationTarget.Global);
}

async function ask(
  step: number,
  prompt: string,
  placeHolder: string,
  mistake: (text: string) => string | undefined,
  value?: string,
): Promise<string | undefined> {
  const text = await vscode.window.showInputBox({
    ...(value === undefined ? {} : { value }),
    title: `${vscode.l10n.t('Add Resource')} (${step}/3)`,
    prompt,
    placeHolder,
    ignoreFocusOut: true,
    validateInput: mistake,
  });
  return text?.trim();
}
