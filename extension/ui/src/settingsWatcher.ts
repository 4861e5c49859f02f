import * as vscode from 'vscode';

/** Which settings have changed, of those that a session follows. */
export interface Affected {
  resources: boolean;
  logLevel: boolean;
}

const SETTLE_MS = 300;

/** Reports changes of settings that a session follows, once the user has stopped typing. */
export class SettingsWatcher implements vscode.Disposable {
  private affected: Affected = { resources: false, logLevel: false };
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly subscriptions: vscode.Disposable;

  constructor(
    private readonly apply: (affected: Affected) => Promise<void>,
    private readonly failed: (error: unknown) => void,
  ) {
    this.subscriptions = vscode.Disposable.from(
      vscode.workspace.onDidChangeConfiguration((event) =>
        this.note(
          ['resources', 'workspaceResources', 'exits'].some((key) => event.affectsConfiguration(`causeway.${key}`)),
          event.affectsConfiguration('causeway.logLevel'),
        ),
      ),
      vscode.workspace.onDidGrantWorkspaceTrust(() => this.note(true, false)),
    );
  }

  dispose(): void {
    clearTimeout(this.timer);
    this.subscriptions.dispose();
  }

  private note(resources: boolean, logLevel: boolean): void {
    if (!resources && !logLevel) return;
    this.affected.resources ||= resources;
    this.affected.logLevel ||= logLevel;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      const { affected } = this;
      this.affected = { resources: false, logLevel: false };
      this.apply(affected).catch(this.failed);
    }, SETTLE_MS);
  }
}
