import * as vscode from 'vscode';

/** The settings that a session follows. */
const FOLLOWED = ['resources', 'workspaceResources', 'exits'].map((key) => `causeway.${key}`);
const SETTLE_MS = 300;

/** Reports changes of the settings that a session follows, once the user has stopped typing. */
export class SettingsWatcher implements vscode.Disposable {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly subscriptions: vscode.Disposable;

  constructor(
    private readonly apply: () => Promise<void>,
    private readonly failed: (error: unknown) => void,
  ) {
    this.subscriptions = vscode.Disposable.from(
      vscode.workspace.onDidChangeConfiguration((event) => {
        if (FOLLOWED.some((key) => event.affectsConfiguration(key))) this.note();
      }),
      vscode.workspace.onDidGrantWorkspaceTrust(() => this.note()),
    );
  }

  dispose(): void {
    clearTimeout(this.timer);
    this.subscriptions.dispose();
  }

  private note(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.apply().catch(this.failed);
    }, SETTLE_MS);
  }
}
