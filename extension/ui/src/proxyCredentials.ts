import * as vscode from 'vscode';
import { plain } from '../../shared/src/text';
import { Trouble } from './trouble';

/** The key in SecretStorage; its value is one JSON object. */
export const CREDENTIALS_KEY = 'causeway.proxyCredentials';

const MAX = 255;

export interface Credentials {
  user: string;
  password: string;
}

/**
 * Returns the credentials of proxies by URL; undefined if there are none. The URL is the key, so that
 * no setting can send them to another proxy.
 */
export async function proxyCredentials(
  secrets: vscode.SecretStorage,
): Promise<Record<string, Credentials> | undefined> {
  try {
    return JSON.parse((await secrets.get(CREDENTIALS_KEY)) ?? '') as Record<string, Credentials>;
  } catch {
    return undefined;
  }
}

/** Returns the URLs of the proxies among the exits in the settings, in the helper's spelling. */
export function proxiesOf(exits: unknown): string[] {
  const urls = Object.values((exits as Record<string, { url?: unknown } | null> | undefined) ?? {})
    .map((exit) => exit?.url)
    .filter((url): url is string => typeof url === 'string' && /^(socks5|https?):\/\/[^/@\s]+:\d+\/?$/i.test(url))
    .map((url) => url.replace(/\/$/, '').toLowerCase());
  return [...new Set(urls)];
}

/** Asks for the user name and the password of one of those proxies, and stores them. */
export async function setProxyCredentials(secrets: vscode.SecretStorage, exits: unknown): Promise<void> {
  const proxy = await pickProxy(proxiesOf(exits));
  if (proxy === undefined) return;
  const title = `Credentials for ${plain(proxy)}`;
  const user = await vscode.window.showInputBox({
    title: `${title} (1/2)`,
    prompt: 'User name. Leave it empty to delete the stored credentials.',
    ignoreFocusOut: true,
    validateInput: (text) =>
      mistake(text) ?? (text.includes(':') ? 'A user name must not contain a colon.' : undefined),
  });
  if (user === undefined) return;
  const { [proxy]: _, ...kept } = (await proxyCredentials(secrets)) ?? {};
  if (user !== '') {
    const password = await vscode.window.showInputBox({
      title: `${title} (2/2)`,
      prompt: 'Password. The editor keeps it in its secret storage on this machine.',
      password: true,
      ignoreFocusOut: true,
      validateInput: mistake,
    });
    if (password === undefined) return;
    kept[proxy] = { user, password };
  }
  await secrets.store(CREDENTIALS_KEY, JSON.stringify(kept));
}

function mistake(text: string): string | undefined {
  if (new TextEncoder().encode(text).length > MAX) return `Use at most ${MAX} bytes.`;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: this pattern finds control characters
  return /[\u0000-\u001f\u007f]/.test(text) ? 'Use one line without control characters.' : undefined;
}

async function pickProxy(proxies: string[]): Promise<string | undefined> {
  if (proxies.length === 0) {
    throw new Trouble('Your setting causeway.exits has no proxy. Add one first.', [
      { title: 'Open Settings', command: 'workbench.action.openSettings', args: ['causeway.exits'] },
    ]);
  }
  if (proxies.length === 1) return proxies[0];
  const items = proxies.map((proxy) => ({ label: plain(proxy), proxy }));
  return (await vscode.window.showQuickPick(items, { title: 'Set Proxy Credentials' }))?.proxy;
}
