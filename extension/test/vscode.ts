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

/** A Uri that is its text. */
class FakeUri {
  constructor(readonly text: string) {}
  get scheme(): string {
    return this.text.split(':')[0] ?? '';
  }
  with({ scheme = this.scheme }: { scheme?: string }): FakeUri {
    return new FakeUri(this.text.replace(/^[^:]*/, scheme));
  }
  toString(): string {
    return this.text;
  }
}

export const Uri = {
  parse: (text: string) => new FakeUri(text),
  joinPath: ({ text }: FakeUri, ...parts: string[]) => new FakeUri(new URL(parts.join('/'), `${text}/`).href),
};

/** What the editor tells, by events that a test fires. */
export const events = {
  configuration: new EventEmitter<{ affectsConfiguration(section: string): boolean }>(),
  trust: new EventEmitter<undefined>(),
};

/** The view that createTreeView returns. */
export const treeView: { message: string; badge?: { value: number } | undefined; dispose: ReturnType<typeof vi.fn> } = {
  message: '',
  dispose: vi.fn(),
};

/** The item that createStatusBarItem returns. */
export const statusBarItem = {
  text: '',
  accessibilityInformation: { label: '' },
  backgroundColor: undefined as ThemeColor | undefined,
  tooltip: undefined as unknown,
  show: vi.fn(),
  dispose: vi.fn(),
};

/** English, as without a translation. */
export const l10n = {
  t: (message: string, ...args: (string | number)[]) =>
    message.replace(/\{(\d+)\}/g, (_, n) => String(args[Number(n)])),
};

export class Position {
  constructor(
    readonly line: number,
    readonly character: number,
  ) {}
}

export class Range {
  constructor(
    readonly start: Position,
    readonly end: Position,
  ) {}
}

export class Diagnostic {
  source = '';
  constructor(
    readonly range: Range,
    readonly message: string,
    readonly severity: number,
  ) {}
}

export const DiagnosticSeverity = { Error: 0, Warning: 1 };
export const LogLevel = { Off: 0, Trace: 1, Debug: 2, Info: 3, Warning: 4, Error: 5 };

/** The collection that createDiagnosticCollection returns. */
export const diagnostics = { clear: vi.fn(), set: vi.fn(), dispose: vi.fn() };

export const languages = { createDiagnosticCollection: vi.fn(() => diagnostics) };

const nothing = () => Promise.resolve(undefined);

export const window = {
  showInputBox: vi.fn(nothing),
  showQuickPick: vi.fn(nothing),
  showInformationMessage: vi.fn(nothing),
  showWarningMessage: vi.fn(nothing),
  showErrorMessage: vi.fn(nothing),
  setStatusBarMessage: vi.fn(),
  registerWebviewViewProvider: vi.fn(() => new Disposable(() => {})),
  createTreeView: vi.fn((..._: unknown[]) => treeView),
  createStatusBarItem: vi.fn(() => statusBarItem),
  showTextDocument: vi.fn((..._: unknown[]) => Promise.resolve()),
  withProgress: vi.fn((_: unknown, task: (progress: unknown, token: unknown) => unknown) =>
    task({ report: () => {} }, { onCancellationRequested: () => new Disposable(() => {}) }),
  ),
};

/** The files that exist: their texts by their addresses. */
export const files = new Map<string, string>();

const document = (uri: FakeUri) => {
  const text = files.get(uri.text);
  if (text === undefined) return Promise.reject(new Error(`no file ${uri.text}`));
  const positionAt = (offset: number) => {
    const lines = text.slice(0, offset).split('\n');
    return new Position(lines.length - 1, lines.at(-1)?.length ?? 0);
  };
  return Promise.resolve({ uri, getText: () => text, positionAt });
};

export const workspace = {
  workspaceFile: undefined as FakeUri | undefined,
  workspaceFolders: undefined as { uri: FakeUri }[] | undefined,
  openTextDocument: vi.fn(document),
  asRelativePath: (uri: FakeUri) => uri.text.split('/w/')[1] ?? uri.text,
  findFiles: vi.fn((glob: string) => {
    const alternatives = glob
      .replace(/^\*\*\//, '')
      .replace(/\./g, '\\.')
      .replace(/\*/g, '[^/]*');
    const pattern = alternatives.replace(/\{([^}]*)\}/g, (_, list: string) => `(${list.replaceAll(',', '|')})`);
    const found = [...files.keys()].filter((name) => new RegExp(`(^|/)${pattern}$`).test(name));
    return Promise.resolve(found.map((name) => new FakeUri(name)));
  }),
  fs: {
    stat: vi.fn((uri: FakeUri) =>
      files.has(uri.text) ? Promise.resolve({ size: files.get(uri.text)?.length }) : Promise.reject(new Error('none')),
    ),
    readFile: vi.fn((uri: FakeUri) => Promise.resolve(new TextEncoder().encode(files.get(uri.text)))),
  },
  onDidChangeConfiguration: events.configuration.event,
  isTrusted: true,
  onDidGrantWorkspaceTrust: events.trust.event,
};

export const commands = {
  executeCommand: vi.fn((..._: unknown[]): Promise<unknown> => Promise.resolve(undefined)),
  registerCommand: vi.fn(() => new Disposable(() => {})),
};

export const env = { remoteName: 'ssh-remote', clipboard: { writeText: vi.fn(() => Promise.resolve()) } };
