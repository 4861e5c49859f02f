import * as vscode from 'vscode';
import type { TestResult } from '../../shared/src/protocol';
import { plain } from '../../shared/src/text';
import { outcome, reportText } from './testText';

const SCHEME = 'causeway-report';

/** Shows the result of a test: a message with the outcome, and a document with every step. */
export class TestReports implements vscode.TextDocumentContentProvider, vscode.Disposable {
  private readonly texts = new Map<string, string>();
  private readonly changed = new vscode.EventEmitter<vscode.Uri>();
  private readonly registration = vscode.workspace.registerTextDocumentContentProvider(SCHEME, this);

  readonly onDidChange = this.changed.event;

  provideTextDocumentContent(uri: vscode.Uri): string {
    return this.texts.get(uri.path) ?? '';
  }

  async show(resource: string, result: TestResult): Promise<void> {
    const uri = vscode.Uri.from({ scheme: SCHEME, path: `/Test of ${plain(resource, 80).replace(/[/\\]/g, '-')}.txt` });
    this.texts.set(uri.path, reportText(resource, result));
    this.changed.fire(uri);
    const details = vscode.l10n.t('Show Steps');
    const show = result.ok ? vscode.window.showInformationMessage : vscode.window.showWarningMessage;
    if ((await show(outcome(resource, result), details)) !== details) return;
    await vscode.window.showTextDocument(await vscode.workspace.openTextDocument(uri), { preview: true });
  }

  dispose(): void {
    this.registration.dispose();
    this.changed.dispose();
  }
}
