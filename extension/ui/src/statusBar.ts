import * as vscode from 'vscode';
import type { SessionState } from '../../shared/src/session';
import { type StatusText, statusText, TOOLTIP_COMMANDS } from './statusText';

const COLORS = {
  warning: new vscode.ThemeColor('statusBarItem.warningBackground'),
  error: new vscode.ThemeColor('statusBarItem.errorBackground'),
};

/** The shortest time between two changes: a text that flickers cannot be read. */
const CHANGE_MS = 1000;

/** The item in the status bar. A click shows the actions. A window without a remote has no item. */
export class StatusBar implements vscode.Disposable {
  private readonly item: vscode.StatusBarItem;
  private changed = Number.NEGATIVE_INFINITY;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private next: StatusText | undefined;
  private drawn = '';

  constructor(private readonly approvals: 'dialog' | 'helper') {
    this.item = vscode.window.createStatusBarItem('causeway.status', vscode.StatusBarAlignment.Left, 10);
    this.item.name = 'Causeway';
    this.item.command = 'causeway.showActions';
    if (vscode.env.remoteName !== undefined) this.item.show();
  }

  /** Shows the state, at once or when the last change is old enough. */
  show(state: SessionState): void {
    this.next = statusText(state, this.approvals);
    this.timer ??= setTimeout(() => this.draw(), Math.max(0, this.changed + CHANGE_MS - Date.now()));
  }

  dispose(): void {
    clearTimeout(this.timer);
    this.item.dispose();
  }

  private draw(): void {
    this.timer = undefined;
    const { next } = this;
    if (next === undefined) return;
    const drawn = JSON.stringify(next);
    if (drawn === this.drawn) return;
    this.drawn = drawn;
    this.changed = Date.now();
    const tooltip = new vscode.MarkdownString(next.tooltip, true);
    tooltip.isTrusted = { enabledCommands: TOOLTIP_COMMANDS };
    this.item.text = next.text;
    this.item.tooltip = tooltip;
    this.item.accessibilityInformation = { label: next.label };
    this.item.backgroundColor = next.color && COLORS[next.color];
  }
}
