// Both halves with child processes as helpers, joined as VS Code joins them.

import path from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Endpoint } from '../../remote/src/endpoint';
import { REMOTE, UI_FRAMES } from '../../shared/src/bridge';
import { HelperProcess } from '../../shared/src/node/helperProcess';
import type { ResourcesResult } from '../../shared/src/protocol';
import type { SessionState } from '../../shared/src/session';
import { Companion } from '../../ui/src/companion';
import { Connection } from '../../ui/src/connection';
import type { ConnectionEvents, ConnectionOptions } from '../../ui/src/connectionOptions';
import { Controller } from '../../ui/src/controller';
import { Forwards } from '../../ui/src/forward';
import type { Platform } from '../../ui/src/platform';
import { DEFAULTS, type Settings } from '../../ui/src/settings';

const FAKE = path.resolve(import.meta.dirname, '../fakeHelper.mjs');

interface Faults {
  gateway?: string;
  capture?: string;
}

class Window {
  readonly states: SessionState[] = [];
  readonly troubles: string[] = [];
  readonly results: (ResourcesResult | undefined)[] = [];
  readonly environment = { set: vi.fn(), clear: vi.fn() };
  readonly children: HelperProcess[] = [];
  readonly calls: string[] = [];
  persistent = false;
  settings: Partial<Settings> = {};
  forward: Platform['forward'];
  readonly logged: string[] = [];
  resources: Record<string, unknown> = {};
  controller: Controller;
  remembered: string | undefined;
  endpoint: Endpoint;
  private fail!: (error: Error) => void;
  private hostGone = new Promise<never>((_, reject) => {
    this.fail = reject;
  });

  constructor(readonly faults: Faults = {}) {
    this.hostGone.catch(() => {});
    this.endpoint = this.companion();
    this.controller = this.life();
  }

  /** The UI extension during one activation. */
  life(): Controller {
    const options = (events: ConnectionEvents, resume: string | undefined, signal: AbortSignal): ConnectionOptions => ({
      platform: {
        approvals: 'dialog',
        gateway: async () => ({ wire: await this.spawn('gateway') }),
        ...(this.forward ? { forward: this.forward } : {}),
      },
      companion: new Companion({
        execute: (command, ...args) => this.execute(command, args),
        version: '0.1.0',
        install: () => Promise.reject(new Error('nothing to install')),
        connectAfterRestart: () => {},
        log: (text) => this.logged.push(text),
      }),
      logLevel: 'info',
      identity: { authority: 'ssh-remote+h', workspace: 'w', remoteLabel: 'h', workspaceLabel: 'w', lasting: true },
      settings: { ...DEFAULTS, ...this.settings, setProxyEnvironment: true },
      resources: this.resources,
      resume,
      version: '0.1.0',
      events,
      log: ({ message }) => this.logged.push(message),
      signal,
    });
    const quiet = () => {};
    const events = { opened: quiet, step: quiet, status: quiet, resources: quiet, ended: quiet, lost: quiet };
    return new Controller({
      open: (events, resume, signal) => Connection.open(options(events, resume, signal)),
      end: (session) => Connection.end(options(events, session, AbortSignal.timeout(5000))),
      persistent: () => this.persistent,
      resumeMs: () => 60_000,
      remember: (session) => {
        this.remembered = session;
      },
      changed: (state) => this.states.push(state),
      resources: (result) => this.results.push(result),
      trouble: (error) => this.troubles.push((error as Error).message),
      log: () => {},
    });
  }

  companion(): Endpoint {
    return new Endpoint({
      version: '0.1.0',
      environment: this.environment,
      start: () => this.spawn('capture'),
      sendFrames: (link, frames) => this.execute(UI_FRAMES, [link, ...frames]),
      log: () => {},
    });
  }

  /** Passes byte arguments on as ArrayBuffers, as between two extension hosts. */
  async execute(command: string, args: unknown[]): Promise<unknown> {
    this.calls.push(command);
    await new Promise(setImmediate);
    const [link, ...rest] = args.map((arg) => (arg instanceof Uint8Array ? Uint8Array.from(arg).buffer : arg));
    switch (command) {
      case REMOTE.hello:
        return this.endpoint.hello(link);
      case REMOTE.open:
        return this.endpoint.open(link);
      case REMOTE.frames:
        this.endpoint.receive(link, rest);
        return undefined;
      case REMOTE.watch:
        return Promise.race([this.endpoint.watch(link), this.hostGone]);
      case REMOTE.close:
        this.endpoint.close(link);
        return undefined;
      case REMOTE.end:
        return this.endpoint.end(link);
      case UI_FRAMES:
        this.controller.receive(link, rest);
        return undefined;
    }
    throw new Error(`command '${command}' not found`);
  }

  /** The remote extension host ends: calls reject, and its helper's stdin closes. Later the host is back. */
  killHost(): void {
    const { endpoint } = this;
    this.endpoint = this.companion();
    this.fail(new Error('Canceled'));
    this.hostGone = new Promise((_, reject) => {
      this.fail = reject;
    });
    this.hostGone.catch(() => {});
    void endpoint.dispose();
  }

  get kinds(): string[] {
    return this.states.map(({ kind }) => kind).filter((kind, i, all) => kind !== all[i - 1]);
  }

  async reach(kind: SessionState['kind']): Promise<void> {
    await vi.waitFor(() => expect(this.controller.state.kind).toBe(kind), { timeout: 5000, interval: 5 });
  }

  private async spawn(role: 'gateway' | 'capture'): Promise<HelperProcess> {
    process.env.FAKE_HELPER = this.faults[role] ?? '';
    const child = await HelperProcess.start({
      command: process.execPath,
      args: [FAKE, role],
      graceMs: 300,
      log: (line) => this.logged.push(line),
    });
    this.children.push(child);
    return child;
  }
}

let window: Window;

afterEach(async () => {
  await window.controller.disconnect();
  await window.endpoint.dispose();
  await Promise.all(window.children.map((child) => child.exited));
  delete process.env.FAKE_HELPER;
});

describe('a session', () => {
  it('connects, sets the proxy once, and ends with both helpers', async () => {
    window = new Window();
    await window.controller.connect();
    expect(window.kinds).toEqual(['connecting', 'connected']);
    await vi.waitFor(() =>
      expect(window.environment.set).toHaveBeenCalledWith('127.0.0.1:7750', ['orders-db.corp.test']),
    );
    await window.controller.disconnect();
    expect(window.kinds.at(-1)).toBe('disconnected');
    await Promise.all(window.children.map((child) => child.exited));
    expect(window.environment.clear).toHaveBeenCalled();
    expect(window.troubles).toEqual([]);
  });

  const uri = (authority: string) => ({ scheme: 'http', authority, path: '/' });

  it.each([
    ['goes direct where the editor forwards a port', async () => uri('localhost:18078'), /^dial 18078$/],
    ['says why it does not go direct', async () => uri('public.example'), /no direct link: .*public\.example/],
    ['stays on its link when forwarding fails', () => Promise.reject(new Error('x')), /no direct link: x/],
  ])('%s', async (_, externalize, said) => {
    window = new Window();
    window.forward = new Forwards(externalize);
    await window.controller.connect();
    await vi.waitFor(() => expect(window.logged).toContainEqual(expect.stringMatching(said)), { timeout: 5000 });
    expect(window.controller.state.kind).toBe('connected');
  });

  it('asks for a port once, and anew when nothing of ours answered there', async () => {
    window = new Window();
    const externalize = vi.fn(async (port: number) => uri(`127.0.0.1:${port}`));
    window.forward = new Forwards(externalize);
    for (const [fault, asked] of [
      ['', 1],
      ['unreached', 1],
      ['', 2],
    ] as const) {
      window.faults.gateway = fault;
      window.logged.length = 0;
      await window.controller.connect();
      const said = fault === '' ? /^dial 18077$/ : /no direct link: nobody there/;
      await vi.waitFor(() => expect(window.logged).toContainEqual(expect.stringMatching(said)), { timeout: 5000 });
      expect(externalize).toHaveBeenCalledTimes(asked);
      await window.controller.disconnect();
    }
  });

  it('tests a resource and answers an approval', async () => {
    window = new Window();
    window.resources = { workspaceResources: [{}] };
    await window.controller.connect();
    expect(window.results.at(-1)?.approvals.length).toBe(1);
    expect(window.controller.state).toMatchObject({ approvals: 1 });
    const { connection } = window.controller;
    expect(await connection?.test('orders-db', new AbortController().signal)).toMatchObject({ ok: true });
    expect(await connection?.answer({ answers: [{ id: 'a1', decision: 'once' }] })).toEqual({
      problems: [],
      approvals: [],
    });
  });

  it.each([0, 1])('is resumed when the shim of helper %i is killed', async (which) => {
    window = new Window();
    await window.controller.connect();
    process.kill(window.children[which]?.pid as number, 'SIGKILL');
    await window.reach('reconnecting');
    expect(window.controller.state).toMatchObject({ reason: expect.stringContaining('SIGKILL') });
    await window.reach('connected');
    expect(window.troubles).toEqual([]);
    expect(window.calls).not.toContain(REMOTE.end);
  });

  it.each([
    [0, 'gateway'],
    [1, 'capture'],
  ] as const)('ends at both ends when helper %i has lost it, and connects again at once', async (which, role) => {
    window = new Window();
    await window.controller.connect();
    window.faults[role] = 'gone';
    process.kill(window.children[which]?.pid as number, 'SIGKILL');
    await window.reach('error');
    expect(window.troubles[0]).toMatch(/SIGKILL.*could not resume it/);
    expect(window.calls).toContain(REMOTE.end);
    expect(window.remembered).toBeUndefined();
    await Promise.all(window.children.map((child) => child.exited));
    expect(window.environment.clear).toHaveBeenCalled();
    await window.controller.connect();
    expect(window.controller.state.kind).toBe('connected');
  });

  it('is resumed when the host of the companion is back', async () => {
    window = new Window();
    await window.controller.connect();
    window.killHost();
    await window.reach('reconnecting');
    await window.reach('connected');
    expect(window.troubles).toEqual([]);
  });

  it('is resumed by the next life of the window', async () => {
    window = new Window();
    await window.controller.connect();
    expect(window.remembered).toBe('0123456789abcdef');
    await window.controller.leave();
    await window.endpoint.dispose();
    await Promise.all(window.children.map((child) => child.exited));
    window.endpoint = window.companion();
    window.controller = window.life();
    await window.controller.resume(window.remembered as string);
    expect(window.controller.state.kind).toBe('connected');
    expect(window.calls).not.toContain(REMOTE.end);
    expect(window.children.length).toBe(4);
  });

  it('is not missed by the next life of the window when it is gone', async () => {
    window = new Window({ gateway: 'gone' });
    await window.controller.resume('0123456789abcdef');
    expect(window.controller.state.kind).toBe('disconnected');
    expect(window.troubles).toEqual([]);
    await Promise.all(window.children.map((child) => child.exited));
  });

  it('is ended while it waits to be resumed', async () => {
    window = new Window();
    await window.controller.connect();
    process.kill(window.children[1]?.pid as number, 'SIGKILL');
    await window.reach('reconnecting');
    await window.controller.disconnect();
    expect(window.controller.state.kind).toBe('disconnected');
    expect(window.calls).toContain(REMOTE.end);
    expect(window.remembered).toBeUndefined();
    await Promise.all(window.children.map((child) => child.exited));
  });

  it('begins anew where only the gateway has one', async () => {
    window = new Window({ capture: 'gone' });
    await window.controller.connect();
    expect(window.controller.state.kind).toBe('connected');
  });

  it('refuses a link with a wrong secret, and stays unharmed', async () => {
    window = new Window();
    await window.controller.connect();
    const link = { session: '0123456789abcdef', secret: 'cd'.repeat(32), link: 'ab'.repeat(16), logLevel: 'info' };
    const forged = { ...link, setProxyEnvironment: false, resumed: true, window: 'w', resumeSeconds: 600 };
    expect(await window.execute(REMOTE.open, [forged])).toEqual({ failed: expect.stringContaining('secret') });
    expect(window.controller.state.kind).toBe('connected');
    expect(window.environment.clear).not.toHaveBeenCalled();
  });

  it('tells the capture how programs are captured, for which bridges and users', async () => {
    window = new Window();
    window.settings = { sources: { ...DEFAULTS.sources, tun: 'off' }, bridges: ['docker0'], users: ['postgres'] };
    await window.controller.connect();
    expect(window.logged).toContain(
      'opened with [{"names":"auto","dns":"auto","tun":"off","proxy":"auto"},["docker0"],["postgres"]]',
    );
  });

  it('reconnects by itself when it is to persist', async () => {
    window = new Window();
    window.persistent = true;
    await window.controller.connect();
    window.faults.capture = 'gone';
    process.kill(window.children[1]?.pid as number, 'SIGKILL');
    await window.reach('reconnecting');
    await window.reach('connected');
    expect(window.troubles).toEqual([]);
  });

  it.each([
    ['gateway', 'old', 'update it'],
    ['gateway', 'crash', 'SIGKILL'],
    ['capture', 'crash', 'SIGKILL'],
    ['capture', 'garbage', 'broke the protocol'],
    ['capture', 'old', 'update it'],
  ])('says why when the %s is %s, and leaves nothing behind', async (role, fault, why) => {
    window = new Window({ [role]: fault });
    await window.controller.connect();
    expect(window.controller.state.kind).toBe('error');
    expect(window.troubles.join()).toContain(why);
    await Promise.all(window.children.map((child) => child.exited));
  });

  it('can be given up while it is being made', async () => {
    window = new Window({ capture: 'deaf' });
    const attempt = window.controller.connect();
    await vi.waitFor(() => expect(window.calls).toContain(REMOTE.open), { timeout: 5000 });
    await window.controller.disconnect();
    await attempt;
    expect(window.controller.state.kind).toBe('disconnected');
    expect(window.troubles).toEqual([]);
    await Promise.all(window.children.map((child) => child.exited));
  });

  it('is one at a time', async () => {
    window = new Window();
    await Promise.all([window.controller.connect(), window.controller.connect(), window.controller.connect()]);
    expect(window.children.length).toBe(2);
  });

  it('ignores frames of another link, and calls that are none', async () => {
    window = new Window();
    await window.controller.connect();
    await window.execute(UI_FRAMES, ['00'.repeat(16), new Uint8Array(3)]);
    await window.execute(UI_FRAMES, []);
    await window.execute(REMOTE.frames, [undefined, 'x']);
    await window.execute(REMOTE.close, [{}]);
    expect(await window.execute(REMOTE.open, [{ link: '../x' }])).toEqual({ failed: expect.any(String) });
    expect(await window.execute(REMOTE.hello, ['x'])).toEqual({ refused: expect.any(String) });
    expect(window.controller.state.kind).toBe('connected');
  });
});
