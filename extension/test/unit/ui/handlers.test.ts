import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { SessionState } from '../../../shared/src/session';
import { actionsFor } from '../../../ui/src/actions';
import { type HandlerContext, handlers } from '../../../ui/src/handlers';
import { Trouble } from '../../../ui/src/trouble';
import { commands, env, window } from '../../vscode';

const orders = {
  name: 'orders',
  host: 'orders-db.corp.test',
  ports: ['5432'],
  from: 'user' as const,
  state: 'ready' as const,
  served: ['orders-db.corp.test:5432'],
  flows: 0,
  bytesUp: 0,
  bytesDown: 0,
};
const connected: Extract<SessionState, { kind: 'connected' }> = {
  kind: 'connected',
  approvals: 0,
  status: { state: 'connected', flows: 0, bytesUp: 0, bytesDown: 0, proxy: '127.0.0.1:7750', resources: [orders] },
};

/** The handlers of a window in that state. */
function rig(state: SessionState = connected, browser = false) {
  const update = vi.fn(() => Promise.resolve());
  const list = [
    { host: 'orders-db.corp.test', ports: [5432], name: 'orders' },
    { host: 'web.corp.test', ports: [80] },
  ];
  const test = vi.fn(() => Promise.resolve({ ok: true, steps: [] }));
  const testAll = vi.fn(() => Promise.resolve(connected.status));
  const controller = {
    state,
    connection: state.kind === 'connected' ? { test, testAll } : undefined,
    connect: vi.fn(() => Promise.resolve()),
    disconnect: vi.fn(() => Promise.resolve()),
  };
  const context = {
    controller,
    approvals: { again: vi.fn() },
    reports: { show: vi.fn(() => Promise.resolve()) },
    diagnostics: { open: vi.fn(() => Promise.resolve(true)), openResource: vi.fn(() => Promise.resolve(true)) },
    install: vi.fn(() => Promise.resolve()),
    configuration: () => ({ inspect: () => ({ globalValue: list }), update }),
    log: { show: vi.fn() },
    secrets: { get: vi.fn(), store: vi.fn(), delete: vi.fn() },
    browser,
    pairAnew: vi.fn(),
  };
  return { ...context, test, testAll, update, handlers: handlers(context as unknown as HandlerContext) };
}

/** Answers a message with its first button. */
const first = ((...[, button]: unknown[]) => Promise.resolve(button)) as never;

beforeEach(() => {
  vi.resetAllMocks();
});

describe('the commands', () => {
  it('connect, disconnect and review', async () => {
    const { handlers: run, controller, approvals, log } = rig({ ...connected, approvals: 1 });
    await run['causeway.connect'](undefined);
    await run['causeway.disconnect'](undefined);
    run['causeway.reviewApprovals'](undefined);
    run['causeway.showLog'](undefined);
    for (const done of [controller.connect, controller.disconnect, approvals.again, log.show]) {
      expect(done).toHaveBeenCalledTimes(1);
    }
  });

  it.each([
    [connected, false, /No resource waits/],
    [connected, true, /No resource waits/],
    [{ ...connected, approvals: 1 }, true, /page of the local helper/],
  ])('say why there is nothing to review here: %#', (state, browser, why) => {
    const { handlers: run, approvals } = rig(state, browser);
    expect(() => run['causeway.reviewApprovals'](undefined)).toThrow(why);
    expect(approvals.again).not.toHaveBeenCalled();
  });

  it('copy the address of a row, and of the proxy', async () => {
    const { handlers: run } = rig();
    await run['causeway.copyAddress']({ resource: orders });
    await run['causeway.copyProxyAddress'](undefined);
    expect(env.clipboard.writeText.mock.calls).toEqual([['orders-db.corp.test:5432'], ['127.0.0.1:7750']]);
  });

  it.each([undefined, null, 'text', {}, { resource: { ...orders, served: ['proxy'] } }])(
    'copy nothing for a row without an address: %j',
    async (argument) => {
      await rig().handlers['causeway.copyAddress'](argument);
      expect(env.clipboard.writeText).not.toHaveBeenCalled();
    },
  );

  it.each(['causeway.copyProxyAddress', 'causeway.testResource', 'causeway.testAll', 'causeway.newTerminal'] as const)(
    '%s says what is missing without a connection',
    async (id) => {
      const { handlers: run } = rig({ kind: 'disconnected' });
      await expect(run[id](undefined)).rejects.toBeInstanceOf(Trouble);
      expect(commands.executeCommand).not.toHaveBeenCalled();
    },
  );
});

describe('Test All', () => {
  it('tells the sum', async () => {
    const { handlers: run, testAll } = rig();
    window.withProgress.mockImplementation((_, task) => task({}, {}));
    await run['causeway.testAll'](undefined);
    expect(testAll).toHaveBeenCalledTimes(1);
    expect(window.showInformationMessage).toHaveBeenCalledWith(
      expect.stringContaining('no resource that a test could tell about'),
    );
  });
});

describe('Test Resource', () => {
  it('tests the resource of a row, or the one that another extension names', async () => {
    const { handlers: run, test, reports } = rig();
    await run['causeway.testResource']({ resource: orders });
    await run['causeway.testResource']('orders');
    expect(test.mock.calls).toEqual([
      ['orders', expect.anything()],
      ['orders', expect.anything()],
    ]);
    expect(reports.show).toHaveBeenCalledTimes(2);
    expect(window.showQuickPick).not.toHaveBeenCalled();
  });

  it('asks which, and tests none when the user escapes', async () => {
    const { handlers: run, test } = rig();
    await run['causeway.testResource'](undefined);
    expect(window.showQuickPick.mock.calls).toEqual([
      [[expect.objectContaining({ name: 'orders' })], expect.anything()],
    ]);
    expect(test).not.toHaveBeenCalled();
    window.showQuickPick.mockImplementation(((items: unknown[]) => Promise.resolve(items[0])) as never);
    await run['causeway.testResource'](undefined);
    expect(test).toHaveBeenCalledTimes(1);
  });

  it('offers to add a resource where there is none', async () => {
    const { handlers: run } = rig({ ...connected, status: { ...connected.status, resources: [] } });
    await expect(run['causeway.testResource'](undefined)).rejects.toMatchObject({
      remedies: [{ command: 'causeway.addResource' }],
    });
  });

  it('reports nothing of a test that the user cancels, and fails with one that fails', async () => {
    const { handlers: run, test, reports } = rig();
    test.mockRejectedValue(new Error('the helper is gone'));
    await expect(run['causeway.testResource']('orders')).rejects.toThrow('the helper is gone');
    window.withProgress.mockImplementation((_, task) =>
      task({}, { onCancellationRequested: (listener: () => void) => listener() }),
    );
    await run['causeway.testResource']('orders');
    expect(reports.show).not.toHaveBeenCalled();
  });
});

describe('New Terminal', () => {
  it('has the companion open one', async () => {
    await rig().handlers['causeway.newTerminal'](undefined);
    expect(commands.executeCommand.mock.calls).toEqual([['_causeway.remote.terminal']]);
  });

  it('says why there is none', async () => {
    const { handlers: run } = rig();
    commands.executeCommand.mockResolvedValueOnce('for Linux only');
    await expect(run['causeway.newTerminal'](undefined)).rejects.toThrow('for Linux only');
    commands.executeCommand.mockRejectedValueOnce(new Error('not found'));
    await expect(run['causeway.newTerminal'](undefined)).rejects.toThrow(/companion/);
  });
});

describe('Install Companion', () => {
  it('installs it and offers to connect', async () => {
    window.showInformationMessage.mockImplementation(first);
    const { handlers: run, install } = rig();
    await run['causeway.installCompanion'](undefined);
    expect(install).toHaveBeenCalledTimes(1);
    await vi.waitFor(() => expect(commands.executeCommand.mock.calls).toEqual([['causeway.connect']]));
  });
});

describe('the menu of a row', () => {
  it('opens the settings file at the resource, or at the mistake', async () => {
    const { handlers: run, diagnostics } = rig();
    const mistake = { path: 'resources[0]', message: 'has no host' };
    await run['causeway.editResource']({ resource: orders });
    await run['causeway.editResource']({ mistake });
    expect(diagnostics.openResource.mock.calls).toEqual([[orders]]);
    expect(diagnostics.open.mock.calls).toEqual([[mistake]]);
    expect(commands.executeCommand).not.toHaveBeenCalled();
  });

  it.each([undefined, null, {}, { mistake: 5 }])(
    'opens the settings for a row that is neither: %j',
    async (argument) => {
      await rig().handlers['causeway.editResource'](argument);
      expect(commands.executeCommand.mock.calls).toEqual([['workbench.action.openSettings', expect.any(String)]]);
    },
  );

  it('removes a resource once the user agrees', async () => {
    const { handlers: run, update } = rig();
    await run['causeway.removeResource']({ resource: orders });
    expect(update).not.toHaveBeenCalled();
    window.showWarningMessage.mockImplementation(((...[, , remove]: unknown[]) => Promise.resolve(remove)) as never);
    await run['causeway.removeResource']({ resource: orders });
    expect(update.mock.calls).toEqual([['resources', [{ host: 'web.corp.test', ports: [80] }], 1]]);
  });

  it.each([
    { ...orders, from: 'workspace' as const },
    { ...orders, name: 'another' },
  ])('says that it cannot remove what is not in the user settings', async (resource) => {
    const { handlers: run, update } = rig();
    await expect(run['causeway.removeResource']({ resource })).rejects.toBeInstanceOf(Trouble);
    expect(update).not.toHaveBeenCalled();
  });

  it('copies a URL and a command, and asks which port', async () => {
    const { handlers: run } = rig();
    const web = { ...orders, host: 'web.corp.test', ports: ['80', '443', '9000-9001'], served: ['web.corp.test:80'] };
    await run['causeway.copyUrl']({ resource: orders });
    await run['causeway.copyCommand']({ resource: orders });
    window.showQuickPick.mockImplementation(((texts: string[]) => Promise.resolve(texts[3])) as never);
    await run['causeway.copyUrl']({ resource: web });
    expect(env.clipboard.writeText.mock.calls).toEqual([
      ['postgresql://orders-db.corp.test:5432/'],
      ['psql -h orders-db.corp.test -p 5432'],
      ['http://web.corp.test:9001/'],
    ]);
    expect(window.showQuickPick.mock.calls.length).toBe(1);
  });

  it.each(['*.corp.test', '10.0.0.0/8'])('copies no URL for %s', async (host) => {
    await rig().handlers['causeway.copyUrl']({ resource: { ...orders, host } });
    expect(env.clipboard.writeText).not.toHaveBeenCalled();
  });
});

describe('what differs between the desktop and a browser', () => {
  it('pairing is for a browser, and connects once there is a token', async () => {
    await expect(rig().handlers['causeway.pairLocalHelper'](undefined)).rejects.toBeInstanceOf(Trouble);
    const { handlers: run, controller, secrets, pairAnew } = rig({ kind: 'disconnected' }, true);
    await run['causeway.pairByToken'](undefined);
    expect(controller.connect).not.toHaveBeenCalled();
    window.showInputBox.mockResolvedValue(' token ' as never);
    await run['causeway.pairByToken'](undefined);
    expect(secrets.store.mock.calls).toEqual([['causeway.pairing', 'token']]);
    expect(controller.connect).toHaveBeenCalledTimes(1);
    // The next connection pairs by a code. The token stays until the helper has given another.
    await run['causeway.pairLocalHelper'](undefined);
    expect(secrets.delete).not.toHaveBeenCalled();
    expect(pairAnew).toHaveBeenCalledTimes(1);
    expect(controller.connect).toHaveBeenCalledTimes(2);
  });

  it('pairing is not offered while connected, and says why it does nothing', async () => {
    const { handlers: run, controller, secrets, pairAnew } = rig(connected, true);
    await expect(run['causeway.pairLocalHelper'](undefined)).rejects.toThrow(/Disconnect/);
    for (const none of [secrets.delete, pairAnew, controller.connect]) expect(none).not.toHaveBeenCalled();
    const offered = (state: SessionState) => actionsFor(state, true).map(({ command }) => command);
    expect(offered(connected)).not.toContain('causeway.pairLocalHelper');
    expect(offered({ kind: 'disconnected' })).toContain('causeway.pairLocalHelper');
  });

  it('credentials of proxies are for the desktop', async () => {
    const { handlers: run } = rig(connected, true);
    await expect(run['causeway.setProxyCredentials'](undefined)).rejects.toThrow('--credentials');
  });
});
