import * as vscode from 'vscode';
import type { SessionState } from '../../shared/src/session';
import { statusText, TOOLTIP_COMMANDS } from './statusText';

const COLORS = {
  warning: new vscode.ThemeColor('statusBarItem.warningBackground'),
  error: new vscode.ThemeColor('statusBarItem.errorBackground'),
};

/** The item in the status bar; a click shows what can be done. A window without a remote has none. */
export class StatusBar implements vscode.Disposable {
  private readonly item: vscode.StatusBarItem;

  constructor(private readonly approvals: 'dialog' | 'terminal') {
    this.item = vscode.window.createStatusBarItem('causeway.status', vscode.StatusBarAlignment.Left, 10);
    this.item.name = 'Causeway';
    this.item.command = 'causeway.showActions';
    if (vscode.env.remoteName !== undefined) this.item.show();
  }

  show(state: SessionState): void {
    const { text, label, tooltip, color } = statusText(state, this.approvals);
    const rendered = new vscode.MarkdownString(tooltip, true);
    rendered.isTrusted = { enabledCommands: TOOLTIP_COMMANDS };
    this.item.text = text;
    this.item.tooltip = rendered;
    this.item.accessibilityInformation = { label };
    this.item.backgroundColor = color && COLORS[color];
  }

  dispose(): void {
    this.item.dispose();
  }
}
