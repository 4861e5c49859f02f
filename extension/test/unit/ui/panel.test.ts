import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { WebviewView } from 'vscode';
import type { FlowsDelta } from '../../../shared/src/flows';
import type { SessionState } from '../../../shared/src/session';
import { Panel, page } from '../../../ui/src/panel';
import { EventEmitter, env, Uri, window, workspace } from '../../vscode';

const connected = {
  kind: 'connected',
  approvals: 0,
  status: { state: 'connected', resources: [], notes: [] },
} as unknown as SessionState;
const delta: FlowsDelta = { time: '2026-11-28T10:00:00Z', bytesUp: 0, bytesDown: 0 };

function rig() {
  const actions = { review: vi.fn(), add: vi.fn(), failed: vi.fn() };
  const panel = new Panel(Uri.parse('file:///x') as never, actions, 'dialog');
  const [message, visibility, gone] = [
    new EventEmitter<unknown>(),
    new EventEmitter<undefined>(),
    new EventEmitter<undefined>(),
  ];
  const posted: { type: string; text?: string }[] = [];
  const webview = {
    options: {},
    html: '',
    cspSource: 'https://*.test',
    asWebviewUri: (uri: unknown) => uri,
    onDidReceiveMessage: message.event,
    postMessage: (sent: { type: string }) => posted.push(sent),
  };
  const view = { webview, visible: true, onDidChangeVisibility: visibility.event, onDidDispose: gone.event };
  const open = () => {
    panel.resolveWebviewView(view as unknown as WebviewView);
    message.fire({ type: 'ready' });
  };
  return { panel, actions, posted, view, message, visibility, gone, open };
}

function source() {
  let on: ((delta: FlowsDelta) => void) | undefined;
  const watchFlows = vi.fn((wanted: typeof on) => {
    on = wanted;
    return Promise.resolve();
  });
  return { watchFlows, send: () => on?.(delta), follows: () => on !== undefined };
}

beforeEach(() => vi.clearAllMocks());

describe('the panel', () => {
  it('follows the helper only while the user sees it', () => {
    const { panel, posted, view, visibility, gone, open } = rig();
    const first = source();
    panel.update(connected, first);
    expect(first.watchFlows).not.toHaveBeenCalled();
    open();
    expect(first.follows()).toBe(true);
    first.send();
    expect(posted.map(({ type }) => type)).toEqual(['texts', 'state', 'delta']);
    view.visible = false;
    visibility.fire(undefined);
    expect(first.follows()).toBe(false);
    view.visible = true;
    open();
    expect(first.follows()).toBe(true);
    gone.fire(undefined);
    expect(first.follows()).toBe(false);
  });

  it('follows a new connection, and says why there is none', () => {
    const { panel, posted, open } = rig();
    const [first, second] = [source(), source()];
    panel.update(connected, first);
    open();
    panel.update({ kind: 'disconnected' }, undefined);
    expect(first.follows()).toBe(false);
    expect(posted.at(-1)).toMatchObject({ type: 'state', text: expect.stringMatching(/disconnected/i) });
    panel.update(connected, second);
    second.send();
    expect(posted.slice(-2).map(({ type, text }) => [type, text])).toEqual([
      ['state', ''],
      ['delta', undefined],
    ]);
  });

  it('says why the session has failed', () => {
    const { panel, posted, open } = rig();
    open();
    panel.update({ kind: 'error', message: 'the remote is gone' }, undefined);
    expect(posted.at(-1)).toMatchObject({ type: 'state', text: 'The remote is gone.' });
  });

  it('says that an old helper tells nothing, and ignores an error of a session that has ended', async () => {
    const { panel, posted, actions, open } = rig();
    const old = { watchFlows: vi.fn(() => Promise.reject(Object.assign(new Error('no method'), { code: -32601 }))) };
    open();
    panel.update(connected, old);
    await vi.waitFor(() => expect(posted.at(-1)?.text).toMatch(/Update it/));
    panel.update(connected, old);
    expect(posted.at(-1)?.text).toMatch(/Update it/);
    panel.update(connected, { watchFlows: () => Promise.reject(new Error('the helper is gone')) });
    panel.update({ kind: 'disconnected' }, undefined);
    await Promise.resolve();
    await Promise.resolve();
    expect(actions.failed).not.toHaveBeenCalled();
    panel.update(connected, { watchFlows: () => Promise.reject(new Error('another')) });
    await vi.waitFor(() => expect(actions.failed).toHaveBeenCalledTimes(1));
  });

  it('opens dialogs of the editor for what the page wishes, and no more', async () => {
    const { actions, message, open } = rig();
    open();
    workspace.openTextDocument.mockResolvedValueOnce({} as never);
    message.fire({ type: 'review' });
    message.fire({ type: 'add', host: 'x'.repeat(1000), port: '80' });
    message.fire({ type: 'copy', text: 'row' });
    message.fire({ type: 'export', text: '{}' });
    message.fire({ type: 'approve', id: 'orders' });
    expect(actions.review).toHaveBeenCalledTimes(1);
    expect(actions.add).toHaveBeenCalledWith('x'.repeat(300), 80);
    expect(env.clipboard.writeText).toHaveBeenCalledWith('row');
    expect(workspace.openTextDocument).toHaveBeenCalledWith({ language: 'json', content: '{}' });
    await vi.waitFor(() => expect(window.showTextDocument).toHaveBeenCalled());
  });

  it('runs one script and loads nothing from elsewhere', () => {
    const text = page('https://r.test/panel.js', 'https://r.test/panel.css', 'https://r.test', 'abc');
    expect(text).toContain(`content="default-src 'none'; style-src https://r.test; script-src 'nonce-abc'"`);
    expect(text.match(/<script/g)?.length).toBe(1);
  });
});
