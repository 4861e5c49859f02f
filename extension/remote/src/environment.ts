/** The part of an EnvironmentVariableCollection that we use. */
export interface Collection {
  persistent: boolean;
  description: unknown;
  replace(variable: string, value: string): void;
  clear(): void;
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
  }

  /** proxy is host:port; noProxy are names that have an address of their own. */
  set(proxy: string, noProxy: string[]): void {
    if (this.current === proxy) return;
    this.current = proxy;
    this.collection.description = 'Causeway: private resources through the proxy on this host';
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
    this.collection.clear();
  }
}
