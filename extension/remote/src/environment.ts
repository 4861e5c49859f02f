/** The part of an EnvironmentVariableCollection that we use. */
export interface Collection {
  persistent: boolean;
  description: unknown;
  replace(variable: string, value: string): void;
  append(
    variable: string,
    value: string,
    options?: { applyAtProcessCreation?: boolean; applyAtShellIntegration?: boolean },
  ): void;
  delete(variable: string): void;
}

const VARIABLES = ['http_proxy', 'https_proxy', 'no_proxy'];

/**
 * Puts a folder at the end of PATH in new terminals: a program of the same name elsewhere comes first. A login shell
 * may set PATH anew, so the editor's shell integration does it again.
 */
export function offerPath(collection: Collection, dir: string): void {
  collection.append('PATH', `:${dir}`, { applyAtProcessCreation: true, applyAtShellIntegration: true });
}

/**
 * The proxy variables of new terminals. With every change VS Code marks all open
 * terminals as stale, so the variables change only when the proxy does.
 */
export class ProxyEnvironment {
  private current: string | undefined;

  constructor(
    private readonly collection: Collection,
    private readonly env: Record<string, string | undefined>,
  ) {
    collection.persistent = false;
    collection.description = 'Causeway: the command causeway, and the proxy if causeway.setProxyEnvironment is on';
  }

  /** proxy is host:port; noProxy are names that have an address of their own. */
  set(proxy: string, noProxy: string[]): void {
    if (this.current === proxy) return;
    this.current = proxy;
    const url = `http://${proxy}`;
    const old = this.env.no_proxy ?? this.env.NO_PROXY ?? '';
    const exceptions = new Set(
      [...old.split(','), 'localhost', '127.0.0.1', '::1', ...noProxy]
        .map((name) => name.trim())
        .filter((name) => name !== ''),
    );
    for (const [name, value] of [
      ['http_proxy', url],
      ['https_proxy', url],
      ['no_proxy', [...exceptions].join(',')],
    ] as const) {
      this.collection.replace(name, value);
      this.collection.replace(name.toUpperCase(), value);
    }
  }

  clear(): void {
    if (this.current === undefined) return;
    this.current = undefined;
    for (const name of VARIABLES) {
      this.collection.delete(name);
      this.collection.delete(name.toUpperCase());
    }
  }
}
