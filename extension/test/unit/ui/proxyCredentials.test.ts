import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { SecretStorage } from 'vscode';
import { proxiesOf, proxyCredentials, setProxyCredentials } from '../../../ui/src/proxyCredentials';

const { showInputBox, showQuickPick } = vi.hoisted(() => ({ showInputBox: vi.fn(), showQuickPick: vi.fn() }));
vi.mock('vscode', () => ({ window: { showInputBox, showQuickPick } }));

const storage = (kept = new Map<string, string>()) =>
  ({
    get: async (key: string) => kept.get(key),
    store: async (key: string, value: string) => void kept.set(key, value),
  }) as unknown as SecretStorage;

const exits = {
  office: { type: 'wireguard', file: '/home/me/office.conf' },
  jump: { type: 'proxy', url: 'SOCKS5://Proxy.corp:1080/' },
  again: { type: 'proxy', url: 'socks5://proxy.corp:1080' },
  bad: { type: 'proxy', url: 'http://me:secret@proxy.corp:3128' },
  none: null,
};

describe('proxy credentials', () => {
  beforeEach(() => vi.resetAllMocks());

  it('are for the proxies in the settings, by their URLs', () => {
    expect(proxiesOf(exits)).toEqual(['socks5://proxy.corp:1080']);
    for (const nothing of [undefined, null, 7, 'x', []]) expect(proxiesOf(nothing)).toEqual([]);
  });

  it('are asked for, kept as a secret, and forgotten', async () => {
    const secrets = storage();
    showInputBox.mockResolvedValueOnce('me').mockResolvedValueOnce('p w');
    await setProxyCredentials(secrets, exits);
    const kept = { 'socks5://proxy.corp:1080': { user: 'me', password: 'p w' } };
    expect(await proxyCredentials(secrets)).toEqual(kept);
    const [user, password] = showInputBox.mock.calls.map(([options]) => options);
    expect([user.password, password.password]).toEqual([undefined, true]);
    for (const wrong of ['a\nb', 'x'.repeat(256), '€'.repeat(86)]) {
      expect([user.validateInput(wrong), password.validateInput(wrong)]).toEqual([
        expect.any(String),
        expect.any(String),
      ]);
    }
    expect([user.validateInput('a:b'), password.validateInput('a:b')]).toEqual([expect.any(String), undefined]);

    showInputBox.mockResolvedValueOnce('other').mockResolvedValueOnce(undefined);
    await setProxyCredentials(secrets, exits);
    expect(await proxyCredentials(secrets)).toEqual(kept);

    showInputBox.mockResolvedValueOnce('');
    await setProxyCredentials(secrets, exits);
    expect(await proxyCredentials(secrets)).toEqual({});
  });

  it('are asked for one proxy of several', async () => {
    const secrets = storage();
    showQuickPick.mockImplementation(async (items) => items[1]);
    showInputBox.mockResolvedValueOnce('me').mockResolvedValueOnce('x');
    await setProxyCredentials(secrets, { ...exits, other: { type: 'proxy', url: 'https://b:1' } });
    expect(await proxyCredentials(secrets)).toEqual({ 'https://b:1': { user: 'me', password: 'x' } });
  });

  it('need a proxy, and are nothing where what is kept cannot be read', async () => {
    await expect(setProxyCredentials(storage(), { office: exits.office })).rejects.toThrow('has no proxy');
    expect(await proxyCredentials(storage())).toBeUndefined();
    expect(await proxyCredentials(storage(new Map([['causeway.proxyCredentials', '{']])))).toBeUndefined();
  });
});
