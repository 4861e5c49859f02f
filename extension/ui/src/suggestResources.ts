import * as vscode from 'vscode';
import { REMOTE } from '../../shared/src/bridge';
import { plain } from '../../shared/src/text';
import { within } from '../../shared/src/wait';
import { addEntries, store } from './addResource';
import { KINDS, type Suggestion, suggest } from './suggestHosts';
import { Trouble } from './trouble';

const MOST_FILES = 200;
const MOST_BYTES = 64 << 10;
/** How long all files together may take, in ms: some texts are slow to parse. */
const MOST_MS = 10_000;
const MOST = 100;
/** So many hosts are chosen at once. */
const MOST_CHOSEN = 3;
const COMPANION_MS = 4_000;
const EXCLUDE = '**/{node_modules,vendor,.venv,venv,target,build,dist}/**';

/** A host that the workspace names. */
interface Found {
  suggestion: Suggestion;
  /** The remote cannot resolve it. */
  missing: boolean;
}

/**
 * Reads what the workspace needs, from the files that say so, and offers the hosts in one list. The user picks, and
 * adds them to the user's own resources or to those that the workspace asks for. If connect is given, the user can
 * connect in the same step.
 */
export async function suggestResources(
  configuration: vscode.WorkspaceConfiguration,
  connect?: () => Promise<unknown>,
): Promise<void> {
  const found = await vscode.window.withProgress(
    { location: vscode.ProgressLocation.Window, title: vscode.l10n.t('Looking for private hosts in the workspace') },
    () => findHosts(configuration),
  );
  if (found.length === 0) {
    throw new Trouble(
      vscode.l10n.t(
        'The files of this workspace name no private host that is not among your resources. Add a resource yourself.',
      ),
      [{ title: vscode.l10n.t('Add Resource…'), command: 'causeway.addResource' }],
    );
  }
  await offerHosts(configuration, found, connect);
}

/** Returns the private hosts that the workspace names and the settings do not have yet. */
export async function findHosts(configuration: vscode.WorkspaceConfiguration): Promise<Found[]> {
  return mark(await readWorkspace(listed(configuration)));
}

/** Offers hosts in one list; see suggestResources. */
export async function offerHosts(
  configuration: vscode.WorkspaceConfiguration,
  found: Found[],
  connect?: () => Promise<unknown>,
): Promise<void> {
  // If the companion does not tell what is missing, a short list is chosen whole.
  const whole = !found.some(({ missing }) => missing) && found.length <= MOST_CHOSEN;
  const items = found.map(({ suggestion, missing }) => ({
    label: plain(`${suggestion.host}:${suggestion.port}`),
    description: plain(`${suggestion.file}:${suggestion.line}${suggestion.name ? ` · ${suggestion.name}` : ''}`),
    ...(missing ? { detail: vscode.l10n.t('The remote cannot resolve this name.') } : {}),
    picked: missing || whole,
    suggestion,
  }));
  const chosen = await vscode.window.showQuickPick(items, {
    title: vscode.l10n.t('Private hosts that this workspace names'),
    placeHolder: vscode.l10n.t('Choose what the remote needs. You approve it later.'),
    canPickMany: true,
    matchOnDescription: true,
  });
  if (chosen === undefined || chosen.length === 0) return;
  const now = { label: vscode.l10n.t('Add to my resources and connect'), detail: 'causeway.resources' };
  const mine = { label: vscode.l10n.t('Add to my resources'), detail: 'causeway.resources' };
  const team = {
    label: vscode.l10n.t('Let the workspace ask for them, for the whole team'),
    detail: 'causeway.workspaceResources',
  };
  const target = await vscode.window.showQuickPick(connect ? [now, mine, team] : [mine, team], {
    title: vscode.l10n.t('Add Resources'),
  });
  if (target === undefined) return;
  const entries = entriesOf(chosen.map(({ suggestion }) => suggestion));
  if (target === now) {
    await store(configuration, entries);
    await connect?.();
    return;
  }
  if (target === mine) {
    await addEntries(configuration, entries);
    return;
  }
  const list = configuration.inspect('workspaceResources')?.workspaceValue;
  await configuration.update(
    'workspaceResources',
    [...(Array.isArray(list) ? list : []), ...entries],
    vscode.ConfigurationTarget.Workspace,
  );
}

/** Puts those first that the remote cannot resolve. It marks none if the companion does not tell. */
async function mark(suggestions: Suggestion[]): Promise<Found[]> {
  const hosts = [...new Set(suggestions.map(({ host }) => host))].filter((host) => !/^[\d.]+$/.test(host));
  const asked = hosts.length > 0 ? vscode.commands.executeCommand(REMOTE.unresolved, hosts) : Promise.resolve([]);
  const told: unknown = await within(asked, COMPANION_MS, 'the companion').catch(() => []);
  const missing = new Set(Array.isArray(told) ? told : []);
  return suggestions
    .map((suggestion) => ({ suggestion, missing: missing.has(suggestion.host) }))
    .sort((a, b) => Number(b.missing) - Number(a.missing));
}

/** Returns one entry per host, with all of its ports. */
function entriesOf(suggestions: Suggestion[]): { host: string; ports: number[] }[] {
  const ports = new Map<string, Set<number>>();
  for (const { host, port } of suggestions) ports.set(host, (ports.get(host) ?? new Set()).add(port));
  return [...ports].map(([host, set]) => ({ host, ports: [...set].sort((a, b) => a - b) }));
}

/** The hosts that the settings have already. */
function listed(configuration: vscode.WorkspaceConfiguration): Set<unknown> {
  const lists = [
    configuration.inspect('resources')?.globalValue,
    configuration.inspect('workspaceResources')?.workspaceValue,
  ];
  return new Set(
    lists.flatMap((list) => (Array.isArray(list) ? list.map((entry: { host?: unknown } | null) => entry?.host) : [])),
  );
}

async function readWorkspace(known: Set<unknown>): Promise<Suggestion[]> {
  const found = new Map<string, Suggestion>();
  const end = Date.now() + MOST_MS;
  for (const { glob, parse } of KINDS) {
    for (const uri of await filesOf(glob)) {
      if (Date.now() > end) return [...found.values()];
      const text = await read(uri);
      if (text === undefined) continue;
      for (const suggestion of suggest(vscode.workspace.asRelativePath(uri), text, parse)) {
        const key = `${suggestion.host}:${suggestion.port}`;
        if (!known.has(suggestion.host) && !found.has(key) && found.size < MOST) found.set(key, suggestion);
      }
    }
  }
  return [...found.values()];
}

async function filesOf(glob: string): Promise<vscode.Uri[]> {
  // The editor's search leaves out what is below .git.
  if (glob.startsWith('.git/')) {
    return (vscode.workspace.workspaceFolders ?? []).map(({ uri }) => vscode.Uri.joinPath(uri, glob));
  }
  return vscode.workspace.findFiles(glob, EXCLUDE, MOST_FILES);
}

async function read(uri: vscode.Uri): Promise<string | undefined> {
  try {
    const { size } = await vscode.workspace.fs.stat(uri);
    return size > MOST_BYTES ? undefined : new TextDecoder().decode(await vscode.workspace.fs.readFile(uri));
  } catch {
    return undefined;
  }
}
