import * as vscode from 'vscode';
import type { ClientParams, GatewayStatus, Problem } from '../../shared/src/protocol';
import { commandLine, type Node, treeModel } from './treeModel';

/** The tree of resources in the activity bar. */
export class ResourceTree implements vscode.TreeDataProvider<Node>, vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<undefined>();
  private readonly view: vscode.TreeView<Node>;
  private nodes: Node[] = [];
  private drawn = '[]';

  readonly onDidChangeTreeData = this.changed.event;

  /** ask tells the command line of a program; it may reject. */
  constructor(private readonly ask: (client: ClientParams) => Promise<string>) {
    this.view = vscode.window.createTreeView('causeway.resourcesView', { treeDataProvider: this });
  }

  /** Says above the tree what is off in a workspace that is not trusted. */
  trusted(isTrusted: boolean): void {
    this.view.message = isTrusted ? '' : 'Not trusted: what this workspace asks for is ignored.';
  }

  show(status: GatewayStatus | undefined, problems: Problem[]): void {
    const nodes = treeModel(status, problems);
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
    item.iconPath = new vscode.ThemeIcon(
      node.icon,
      node.color === undefined ? undefined : new vscode.ThemeColor(node.color),
    );
    if (node.resource !== undefined) item.contextValue = `resource.${node.resource.state}`;
    if (node.mistake) item.command = { command: 'causeway.openSettings', title: 'Open Settings' };
    return item;
  }

  /** Called when a line without a tooltip is looked at. */
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
}
