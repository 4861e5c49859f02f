import * as vscode from 'vscode';
import type { FlowsListener } from '../../shared/src/flows';
import { type FromPanel, MAX_PANEL_TEXT, type ToPanel } from '../../shared/src/panel';
import type { SessionState } from '../../shared/src/session';
import { sentence } from '../../shared/src/text';
import { panelTexts } from './panelTexts';
import { statusText } from './statusText';

/** The identifier of the view in the manifest. */
export const PANEL = 'causeway.connectionsView';

/** The code of a helper's error: it does not have the method. */
const METHOD_NOT_FOUND = -32601;

/** What the panel follows; Connection has it. */
export interface FlowSource {
  watchFlows(on: FlowsListener): Promise<void>;
}

/** What the panel asks for. Each opens a dialog of the editor, or copies. */
export interface PanelActions {
  review(): void;
  add(host: string, port: number): void;
  failed(error: unknown): void;
}

/**
 * The view of connections, DNS questions and refusals in the bottom panel. It follows the helper only while the user
 * sees it.
 */
export class Panel implements vscode.WebviewViewProvider, vscode.Disposable {
  private view: vscode.WebviewView | undefined;
  private ready = false;
  private state: SessionState = { kind: 'disconnected' };
  private source: FlowSource | undefined;
  /** The source that sends deltas now. */
  private followed: FlowSource | undefined;
  /** Why the source sends nothing; '' if it does. */
  private mute = '';
  private readonly registered: vscode.Disposable;

  constructor(
    private readonly extension: vscode.Uri,
    private readonly actions: PanelActions,
    private readonly approvals: 'dialog' | 'helper',
  ) {
    this.registered = vscode.window.registerWebviewViewProvider(PANEL, this);
  }

  dispose(): void {
    this.registered.dispose();
  }

  /** Shows a state. source is the connection if there is one. */
  update(state: SessionState, source: FlowSource | undefined): void {
    this.state = state;
    this.source = state.kind === 'connected' ? source : undefined;
    this.follow();
  }

  resolveWebviewView(view: vscode.WebviewView): void {
    this.view = view;
    this.ready = false;
    const { webview } = view;
    webview.options = {
      enableScripts: true,
      localResourceRoots: [vscode.Uri.joinPath(this.extension, 'dist'), vscode.Uri.joinPath(this.extension, 'media')],
    };
    webview.onDidReceiveMessage((message: FromPanel) => this.take(message));
    view.onDidChangeVisibility(() => {
      if (!view.visible) this.ready = false; // the editor ends a page that nobody sees
      this.follow();
    });
    view.onDidDispose(() => {
      if (this.view === view) this.view = undefined;
      this.follow();
    });
    const script = webview.asWebviewUri(vscode.Uri.joinPath(this.extension, 'dist', 'panel.js'));
    const style = webview.asWebviewUri(vscode.Uri.joinPath(this.extension, 'media', 'panel.css'));
    webview.html = page(String(script), String(style), webview.cspSource, nonce());
  }

  private take(message: FromPanel): void {
    switch (message.type) {
      case 'ready':
        this.ready = true;
        this.followed = undefined;
        this.post({ type: 'texts', texts: panelTexts() });
        this.follow();
        return;
      case 'review':
        this.actions.review();
        return;
      case 'add':
        this.actions.add(String(message.host).slice(0, 300), Number(message.port));
        return;
      case 'copy':
        void vscode.env.clipboard.writeText(String(message.text).slice(0, MAX_PANEL_TEXT));
        return;
      case 'export':
        this.export(String(message.text).slice(0, MAX_PANEL_TEXT)).catch((error: unknown) =>
          this.actions.failed(error),
        );
    }
  }

  private async export(content: string): Promise<void> {
    const document = await vscode.workspace.openTextDocument({ language: 'json', content });
    await vscode.window.showTextDocument(document, { preview: false });
  }

  /** Follows the source while the page is there and seen. */
  private follow(): void {
    const wanted = this.view?.visible && this.ready ? this.source : undefined;
    const { followed } = this;
    if (followed !== wanted) this.mute = '';
    if (this.ready) this.post({ type: 'state', text: this.stateText() });
    if (followed === wanted) return;
    this.followed = wanted;
    // A session that has ended no longer takes the call.
    followed?.watchFlows(undefined).catch(() => {});
    wanted
      ?.watchFlows((delta) => {
        if (this.followed === wanted) this.post({ type: 'delta', delta });
      })
      .catch((error: unknown) => this.cannotFollow(wanted, error));
  }

  private cannotFollow(source: FlowSource, error: unknown): void {
    if (this.followed !== source) return; // the session has ended meanwhile
    if ((error as { code?: unknown } | null)?.code !== METHOD_NOT_FOUND) {
      this.actions.failed(error);
      return;
    }
    this.mute = vscode.l10n.t('The helper on your machine is too old to show connections. Update it.');
    this.post({ type: 'state', text: this.mute });
  }

  /** Why there is nothing to show. */
  private stateText(): string {
    if (this.source !== undefined) return this.mute;
    return this.state.kind === 'error' ? sentence(this.state.message) : statusText(this.state, this.approvals).label;
  }

  private post(message: ToPanel): void {
    void this.view?.webview.postMessage(message);
  }
}

function nonce(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Returns the page: it runs our script and nothing else, and loads nothing from elsewhere. */
export function page(script: string, style: string, source: string, nonce: string): string {
  const csp = `default-src 'none'; style-src ${source}; script-src 'nonce-${nonce}'`;
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${csp}">
<link rel="stylesheet" href="${style}">
<title>Causeway</title>
</head>
<body><script nonce="${nonce}" src="${script}"></script></body>
</html>`;
}
