// The part of the editor's API that the user interface touches, for unit tests.
// Every function is a mock; vi.resetAllMocks puts back what it does here.
import { vi } from 'vitest';

export class Disposable {
  static from(...items: { dispose(): unknown }[]): Disposable {
    return new Disposable(() => {
      for (const item of items) item.dispose();
    });
  }
  constructor(readonly dispose: () => unknown) {}
}

export class EventEmitter<T> {
  private readonly listeners = new Set<(value: T) => unknown>();
  readonly event = (listener: (value: T) => unknown): Disposable => {
    this.listeners.add(listener);
    return new Disposable(() => this.listeners.delete(listener));
  };
  get size(): number {
    return this.listeners.size;
  }
  fire(value: T): void {
    for (const listener of this.listeners) listener(value);
  }
  dispose(): void {
    this.listeners.clear();
  }
}

export class ThemeColor {
  constructor(readonly id: string) {}
}

export class ThemeIcon {
  constructor(
    readonly id: string,
    readonly color?: ThemeColor,
  ) {}
}

export class MarkdownString {
  constructor(readonly value: string) {}
}

export class TreeItem {
  constructor(
    readonly label: string,
    readonly collapsibleState: number,
  ) {}
}

export const TreeItemCollapsibleState = { None: 0, Collapsed: 1, Expanded: 2 };
export const ConfigurationTarget = { Global: 1, Workspace: 2, WorkspaceFolder: 3 };
export const ProgressLocation = { SourceControl: 1, Window: 10, Notification: 15 };
export const StatusBarAlignment = { Left: 1, Right: 2 };

export const Uri = {
  parse: (text: string) => ({ scheme: text.split(':')[0], toString: () => text }),
};

/** What the editor tells, by events that a test fires. */
export const events = {
  configuration: new EventEmitter<{ affectsConfiguration(section: string): boolean }>(),
  trust: new EventEmitter<undefined>(),
};

/** The view that createTreeView returns. */
export const treeView = { message: '', dispose: vi.fn() };

const nothing = () => Promise.resolve(undefined);

export const window = {
  showInputBox: vi.fn(nothing),
  showQuickPick: vi.fn(nothing),
  showInformationMessage: vi.fn(nothing),
  showWarningMessage: vi.fn(nothing),
  showErrorMessage: vi.fn(nothing),
  setStatusBarMessage: vi.fn(),
  createTreeView: vi.fn((..._: unknown[]) => treeView),
  withProgress: vi.fn((_: unknown, task: (progress: unknown, token: unknown) => unknown) =>
    task({ report: () => {} }, { onCancellationRequested: () => new Disposable(() => {}) }),
  ),
};

export const workspace = {
  onDidChangeConfiguration: events.configuration.event,
  onDidGrantWorkspaceTrust: events.trust.event,
};

export const commands = {
  executeCommand: vi.fn((..._: unknown[]): Promise<unknown> => Promise.resolve(undefined)),
  registerCommand: vi.fn(() => new Disposable(() => {})),
};

export const env = { remoteName: 'ssh-remote', clipboard: { writeText: vi.fn(() => Promise.resolve()) } };
