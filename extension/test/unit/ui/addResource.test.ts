import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { WorkspaceConfiguration } from 'vscode';
import { addResource } from '../../../ui/src/addResource';
import { commands, window } from '../../vscode';

interface Box {
  title: string;
  validateInput(text: string): string | undefined;
}

/** Answers the input boxes one after the other. Undefined stands for Escape. */
function answers(...texts: (string | undefined)[]): Box[] {
  const boxes: Box[] = [];
  window.showInputBox.mockImplementation(((box: Box) => {
    boxes.push(box);
    return Promise.resolve(texts[boxes.length - 1]);
  }) as never);
  return boxes;
}

/** Settings with that list of resources. */
function settings(resources?: unknown) {
  const update = vi.fn(() => Promise.resolve());
  const inspect = () => ({ globalValue: resources, workspaceValue: [{ host: 'of.the.workspace' }] });
  return { update, configuration: { inspect, update } as unknown as WorkspaceConfiguration };
}

beforeEach(() => {
  vi.resetAllMocks();
});

describe('addResource', () => {
  it("adds to the user's own list, and to no other", async () => {
    const boxes = answers(' orders-db.corp.test ', '5432, 8000-8010', '');
    const { update, configuration } = settings([{ host: 'web.corp.test', ports: [80] }]);
    await addResource(configuration);
    const list = [
      { host: 'web.corp.test', ports: [80] },
      { host: 'orders-db.corp.test', ports: [5432, '8000-8010'] },
    ];
    expect(update.mock.calls).toEqual([['resources', list, 1]]);
    expect(boxes.map(({ title }) => title)).toEqual(['1/3', '2/3', '3/3'].map((n) => expect.stringContaining(n)));
  });

  it.each([
    ['the host', [undefined]],
    ['the ports', ['a.test', undefined]],
    ['the name', ['a.test', '80', undefined]],
  ])('writes nothing when the user escapes at %s', async (_, texts) => {
    answers(...texts);
    const { update, configuration } = settings();
    await addResource(configuration);
    expect(update).not.toHaveBeenCalled();
  });

  it('insists on a name for localhost, and on none for others', async () => {
    let boxes = answers('localhost', '3000', 'laptop.internal');
    const { update, configuration } = settings();
    await addResource(configuration);
    expect(update.mock.calls).toEqual([
      ['resources', [{ host: 'localhost', ports: [3000], as: 'laptop.internal' }], 1],
    ]);
    expect(boxes[2]?.validateInput('')).toBeDefined();
    boxes = answers('a.test', '80', '');
    await addResource(configuration);
    expect(boxes[2]?.validateInput('')).toBeUndefined();
    expect(boxes[2]?.validateInput('no-dot')).toBeDefined();
  });

  it('refuses mistakes in each box', async () => {
    const boxes = answers('a.test', '80', '');
    await addResource(settings().configuration);
    expect(['http://a.test', '0', 'x y'].map((text, i) => boxes[i]?.validateInput(text))).toEqual([
      expect.any(String),
      expect.any(String),
      expect.any(String),
    ]);
  });

  it('does not overwrite a setting that is no list', async () => {
    answers('a.test', '80', '');
    const { update, configuration } = settings('mistake');
    await expect(addResource(configuration)).rejects.toThrow('causeway.resources');
    expect(update).not.toHaveBeenCalled();
  });

  it('opens the settings where it has written, if the user asks for that', async () => {
    answers('a.test', '80', '');
    window.showInformationMessage.mockImplementation(((_: string, button: string) => Promise.resolve(button)) as never);
    await addResource(settings().configuration);
    expect(commands.executeCommand.mock.calls).toEqual([
      ['workbench.action.openSettingsJson', { revealSetting: { key: 'causeway.resources' } }],
    ]);
  });
});
