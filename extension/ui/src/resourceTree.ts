import * as vscode from 'vscode';
import type { ClientParams, Problem } from '../../shared/src/protocol';
import type { SessionState } from '../../shared/src/session';
import { commandLine, type Node, treeModel } from './treeModel';
import { resources } from './words';

/** The tree of resources in the activity bar. */
export class ResourceTree implements vscode.TreeDataProvider<Node>, vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<undefined>();
  private readonly view: vscode.TreeView<Node>;
  private nodes: Node[] = [];
  private drawn = '[]';

  readonly onDidChangeTreeData = this.changed.event;

  /** ask returns the command line of a program; it may reject. */
  constructor(private readonly ask: (client: ClientParams) => Promise<string>) {
    this.view = vscode.window.createTreeView('causeway.resourcesView', { treeDataProvider: this });
  }

  /** Says above the tree what is off in a workspace that the user does not trust. */
  trusted(isTrusted: boolean): void {
    this.view.message = isTrusted
      ? ''
      : vscode.l10n.t('You do not trust this workspace, so Causeway ignores the resources that it asks for.');
  }

  show(state: SessionState, problems: Problem[]): void {
    this.badge('approvals' in state ? state.approvals : 0);
    const nodes = treeModel(state, problems);
    const drawn = JSON.stringify(nodes);
    if (drawn === this.drawn) return;
    this.nodes = nodes;
    this.drawn = drawn;
    this.changed.fire(undefined);
  }

  getChildren(node?: Node): Node[] {
    return node === undefined ? this.nodes : node.children;
  }

  getTreeItem(node: Node): vscode.TreeItem {
    const { None, Collapsed } = vscode.TreeItemCollapsibleState;
    const item = new vscode.TreeItem(node.label, node.children.length > 0 ? Collapsed : None);
    item.id = node.id;
    if (node.description !== undefined) item.description = node.description;
    if (node.tooltip !== undefined) item.tooltip = new vscode.MarkdownString(node.tooltip);
    if (node.spoken !== undefined) item.accessibilityInformation = { label: node.spoken };
    item.iconPath = new vscode.ThemeIcon(
      node.icon,
      node.color === undefined ? undefined : new vscode.ThemeColor(node.color),
    );
    if (node.context !== undefined) item.contextValue = node.context;
    if (node.mistake !== undefined) {
      item.command = { command: 'causeway.editResource', title: vscode.l10n.t('Open Settings'), arguments: [node] };
    }
    return item;
  }

  /** VS Code calls this when the user looks at a line without a tooltip. */
  async resolveTreeItem(item: vscode.TreeItem, node: Node): Promise<vscode.TreeItem> {
    if (node.client !== undefined) {
      const told = await this.ask(node.client).catch(() => '');
      item.tooltip = new vscode.MarkdownString(commandLine(told));
    }
    return item;
  }

  dispose(): void {
    this.view.dispose();
    this.changed.dispose();
  }

  private badge(approvals: number): void {
    if ((this.view.badge?.value ?? 0) === approvals) return;
    const tooltip = vscode.l10n.t('{0} to approve', resources(approvals));
    this.view.badge = approvals === 0 ? undefined : { value: approvals, tooltip };
  }
}
