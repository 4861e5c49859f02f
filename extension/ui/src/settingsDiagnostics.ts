import * as vscode from 'vscode';
import type { Problem, ResourceStatus } from '../../shared/src/protocol';
import { sentence } from '../../shared/src/text';
import { locate, locateResource, type Span, settingsPath } from './settingsFile';

/** A settings file and its text. */
interface File {
  uri: vscode.Uri;
  document: vscode.TextDocument;
}

/** Shows the mistakes that the gateway finds in the settings as diagnostics, at their lines. */
export class SettingsDiagnostics implements vscode.Disposable {
  private readonly collection = vscode.languages.createDiagnosticCollection('Causeway');
  private latest = 0;

  /** storage is the extension's global storage, which lies beside the user's settings. */
  constructor(private readonly storage: vscode.Uri) {}

  /** Shows these mistakes in place of all earlier ones. Resolves with those that are in no settings file. */
  async show(problems: Problem[]): Promise<Problem[]> {
    const turn = ++this.latest;
    const found = new Map<string, { uri: vscode.Uri; diagnostics: vscode.Diagnostic[] }>();
    const elsewhere: Problem[] = [];
    for (const problem of problems) {
      const place = await this.find(problem);
      if (place === undefined) {
        elsewhere.push(problem);
        continue;
      }
      const diagnostic = new vscode.Diagnostic(place.range, sentence(problem.message), vscode.DiagnosticSeverity.Error);
      diagnostic.source = 'Causeway';
      const entry = found.get(place.uri.toString()) ?? { uri: place.uri, diagnostics: [] };
      entry.diagnostics.push(diagnostic);
      found.set(place.uri.toString(), entry);
    }
    if (turn !== this.latest) return elsewhere;
    this.collection.clear();
    for (const { uri, diagnostics } of found.values()) this.collection.set(uri, diagnostics);
    return elsewhere;
  }

  /** Opens the settings file at a mistake; false if no file has it. */
  async open(problem: Problem): Promise<boolean> {
    return reveal(await this.find(problem));
  }

  /** Opens the settings file at a resource; false if no file has it. */
  async openResource({ from, name }: Pick<ResourceStatus, 'from' | 'name'>): Promise<boolean> {
    const setting = from === 'workspace' ? 'causeway.workspaceResources' : 'causeway.resources';
    return reveal(await this.search(setting, (text) => locateResource(text, setting, name)));
  }

  dispose(): void {
    this.collection.dispose();
  }

  private find(problem: Problem): Promise<Place | undefined> {
    const path = settingsPath(problem.path);
    return this.search(String(path[0]), (text) => locate(text, path));
  }

  private async search(setting: string, where: (text: string) => Span | undefined): Promise<Place | undefined> {
    for (const { uri, document } of await this.files(setting)) {
      const span = where(document.getText());
      if (span === undefined) continue;
      const end = document.positionAt(span.offset + span.length);
      return { uri, range: new vscode.Range(document.positionAt(span.offset), end) };
    }
    return undefined;
  }

  /** The files that may have a setting. */
  private async files(setting: string): Promise<File[]> {
    const { workspaceFile, workspaceFolders } = vscode.workspace;
    const uris =
      setting === 'causeway.workspaceResources'
        ? [
            ...(workspaceFile === undefined ? [] : [workspaceFile]),
            ...(workspaceFolders ?? []).map(({ uri }) => vscode.Uri.joinPath(uri, '.vscode', 'settings.json')),
          ]
        : [userSettings(this.storage)];
    const files: File[] = [];
    for (const uri of uris) {
      try {
        files.push({ uri, document: await vscode.workspace.openTextDocument(uri) });
      } catch {
        // There is no such file.
      }
    }
    return files;
  }
}

interface Place {
  uri: vscode.Uri;
  range: vscode.Range;
}

/** The user's settings: the editor shows them by a scheme of its own. */
function userSettings(storage: vscode.Uri): vscode.Uri {
  return vscode.Uri.joinPath(storage, '..', '..', 'settings.json').with({ scheme: 'vscode-userdata', authority: '' });
}

async function reveal(place: Place | undefined): Promise<boolean> {
  if (place === undefined) return false;
  await vscode.window.showTextDocument(place.uri, {
    selection: new vscode.Range(place.range.start, place.range.start),
  });
  return true;
}
