import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { ClientParams, ResourceStatus } from '../../../shared/src/protocol';
import type { SessionState } from '../../../shared/src/session';
import { ResourceTree } from '../../../ui/src/resourceTree';
import type { Node } from '../../../ui/src/treeModel';
import { treeView, window } from '../../vscode';

const resource: ResourceStatus = {
  name: 'orders',
  host: 'orders-db.corp.test',
  ports: ['5432'],
  from: 'user',
  state: 'ready',
  served: ['orders-db.corp.test:5432'],
  flows: 1,
  bytesUp: 0,
  bytesDown: 0,
  clients: [{ user: 'dev', pid: 4711, program: 'psql', flows: 1 }],
};
const status = (...resources: ResourceStatus[]): SessionState => ({
  kind: 'connected',
  approvals: 0,
  status: { state: 'connected', flows: 0, bytesUp: 0, bytesDown: 0, resources },
});

function tree(ask: (client: ClientParams) => Promise<string> = () => Promise.resolve('psql -h x')) {
  const made = new ResourceTree(ask);
  const changes = vi.fn();
  made.onDidChangeTreeData(changes);
  return { tree: made, changes };
}

/** The line below the first resource that is a program. */
const programOf = (made: ResourceTree): Node => {
  const node = made.getChildren(made.getChildren()[0]).find(({ client }) => client !== undefined);
  if (node === undefined) throw new Error('no program');
  return node;
};

beforeEach(() => {
  vi.resetAllMocks();
  treeView.message = '';
});

describe('ResourceTree', () => {
  it('is the provider of its view', () => {
    const { tree: made } = tree();
    expect(window.createTreeView.mock.calls).toEqual([['causeway.resourcesView', { treeDataProvider: made }]]);
  });

  it('draws anew only when something has changed', () => {
    const { tree: made, changes } = tree();
    made.show(status(resource), []);
    made.show(status({ ...resource }), []);
    expect(changes).toHaveBeenCalledTimes(1);
    made.show(status({ ...resource, bytesUp: 1 << 20 }), []);
    expect(changes).toHaveBeenCalledTimes(2);
  });

  it('has the resources as roots, with their lines below', () => {
    const { tree: made } = tree();
    made.show(status(resource, { ...resource, name: 'web' }), []);
    expect(made.getChildren().map(({ label }) => label)).toEqual(['orders', 'web']);
    expect(made.getChildren(made.getChildren()[1]).map(({ label }) => label)).toContain('psql (pid 4711, dev): 1 flow');
  });

  it('makes items that the manifest has menus for', () => {
    const { tree: made } = tree();
    made.show(status(resource), [{ path: 'resources[0]', message: 'has no host' }]);
    const [mistake, orders] = made.getChildren().map((node) => made.getTreeItem(node));
    expect(mistake).toMatchObject({ collapsibleState: 0, command: { command: 'causeway.editResource' } });
    expect(mistake).not.toHaveProperty('contextValue');
    expect(orders).toMatchObject({ collapsibleState: 1, contextValue: 'resource.user.ready.host', label: 'orders' });
    expect(orders).not.toHaveProperty('command');
    expect(orders?.accessibilityInformation).toEqual({ label: 'orders, ready, orders-db.corp.test:5432 · 1 flow' });
    expect(mistake?.accessibilityInformation?.label).toContain('has no host');
  });

  it('has a badge with the number of approvals that wait', () => {
    const { tree: made } = tree();
    made.show({ ...status(resource), approvals: 2 } as SessionState, []);
    expect(treeView.badge).toMatchObject({ value: 2 });
    made.show(status(resource), []);
    expect(treeView.badge).toBeUndefined();
  });

  it('keeps the rows while the session waits, and says until when', () => {
    const { tree: made } = tree();
    const connected = status(resource);
    if (connected.kind !== 'connected') throw new Error(connected.kind);
    const waits = { since: 0, until: new Date(2026, 0, 2, 14, 32).getTime() };
    const waiting = { kind: 'reconnecting', reason: 'x', attempt: 1, delayMs: 0, approvals: 0 } as const;
    made.show({ ...waiting, waits, status: connected.status }, []);
    const [row] = made.getChildren().map((node) => made.getTreeItem(node));
    expect(row?.description).toMatch(/^waiting, until .*32/);
    expect(row).toMatchObject({ label: 'orders', contextValue: 'resource.user.waiting' });
    expect(row?.accessibilityInformation?.label).toMatch(/^orders, waiting, until/);
    made.show({ kind: 'disconnected' }, []);
    expect(made.getChildren()).toEqual([]);
  });

  it('asks for the command line of a program when the line is looked at', async () => {
    const ask = vi.fn(() => Promise.resolve('psql -h x'));
    const { tree: made } = tree(ask);
    made.show(status(resource), []);
    const node = programOf(made);
    const item = made.getTreeItem(node);
    expect(ask).not.toHaveBeenCalled();
    expect(await made.resolveTreeItem(item, node)).toMatchObject({ tooltip: { value: 'psql \\-h x' } });
    expect(ask.mock.calls).toEqual([[{ resource: 'orders', pid: 4711 }]]);
  });

  it('says so when the command line is not told', async () => {
    const { tree: made } = tree(() => Promise.reject(new Error('gone')));
    made.show(status(resource), []);
    const node = programOf(made);
    const item = await made.resolveTreeItem(made.getTreeItem(node), node);
    expect(item).toMatchObject({ tooltip: { value: expect.stringContaining('command line') } });
  });

  it('says above the lines what is off in a workspace that is not trusted', () => {
    const { tree: made } = tree();
    made.trusted(false);
    expect(treeView.message).not.toBe('');
    made.trusted(true);
    expect(treeView.message).toBe('');
  });

  it('disposes of its view', () => {
    const { tree: made, changes } = tree();
    made.dispose();
    made.show(status(resource), []);
    expect(treeView.dispose).toHaveBeenCalledTimes(1);
    expect(changes).not.toHaveBeenCalled();
  });
});
