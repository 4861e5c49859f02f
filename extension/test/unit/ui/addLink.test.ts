import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { WorkspaceConfiguration } from 'vscode';
import { AddLinks } from '../../../ui/src/addLink';
import { chooseResource } from '../../../ui/src/recipes';
import { window } from '../../vscode';

interface Box {
  prompt: string;
  value?: string;
  placeHolder: string;
}
type Pick = { label: string; wish: { host?: string; ports?: string; as?: string } };

const update = vi.fn(() => Promise.resolve());
const configuration = { inspect: () => undefined, update } as unknown as WorkspaceConfiguration;
const failed = vi.fn();
const links = () => new AddLinks(() => configuration, failed);

/** Presses Enter in each box, or Escape. */
function boxes(press: 'enter' | 'escape'): Box[] {
  const shown: Box[] = [];
  window.showInputBox.mockImplementation(((box: Box) => {
    shown.push(box);
    return Promise.resolve(press === 'enter' ? (box.value ?? '') : undefined);
  }) as never);
  return shown;
}

beforeEach(() => {
  vi.resetAllMocks();
});

describe('a link', () => {
  it('fills in the boxes, and says that a link did', async () => {
    const shown = boxes('enter');
    await links().handleUri({ path: '/add', query: 'host=db.corp.test&ports=5432,8000-8010' });
    expect(shown.map(({ value }) => value)).toEqual(['db.corp.test', '5432,8000-8010', undefined]);
    expect(shown[0]?.prompt).toMatch(/A link asks for this host/);
    expect(update.mock.calls).toEqual([['resources', [{ host: 'db.corp.test', ports: [5432, '8000-8010'] }], 1]]);
  });

  it('adds nothing that the user does not go through', async () => {
    const shown = boxes('escape');
    await links().handleUri({ path: '/add', query: 'host=db.corp.test&ports=5432&approve=true&as=localhost' });
    expect(shown.length).toBe(1);
    expect(update).not.toHaveBeenCalled();
  });

  it.each([
    ['no query', '/add', ''],
    ['no ports', '/add', 'host=a.test'],
    ['another path', '/approve', 'host=a.test&ports=80'],
    ['two hosts', '/add', 'host=a.test&host=b.test&ports=80'],
    ['a URL', '/add', 'host=http://a.test/&ports=80'],
    ['a line break', '/add', 'host=a.test%0Aapproved&ports=80'],
    ['text that runs backwards', '/add', 'host=a%E2%80%AEtset.b&ports=80'],
    ['no port', '/add', 'host=a.test&ports=0'],
    ['a broken escape', '/add', 'host=%ff%fe&ports=80'],
    ['endless ports', '/add', `host=a.test&ports=${'80,'.repeat(100)}`],
    ['an endless query', '/add', `host=a.test&ports=80&x=${'x'.repeat(2_000)}`],
  ])('with %s opens no box, and its text is not shown', async (_, path, query) => {
    const shown = boxes('enter');
    await links().handleUri({ path, query });
    expect(shown).toEqual([]);
    expect(failed.mock.calls).toEqual([
      [expect.objectContaining({ message: 'The link for Causeway names no valid host and ports.' })],
    ]);
    expect(update).not.toHaveBeenCalled();
  });

  it('opens no boxes on top of those of another', async () => {
    let close: (text: undefined) => void = () => {};
    window.showInputBox.mockImplementation((() => new Promise((resolve) => (close = resolve))) as never);
    const handler = links();
    const first = handler.handleUri({ path: '/add', query: 'host=a.test&ports=80' });
    await handler.handleUri({ path: '/add', query: 'host=b.test&ports=80' });
    expect(window.showInputBox).toHaveBeenCalledTimes(1);
    expect(failed.mock.calls).toEqual([
      [expect.objectContaining({ message: expect.stringMatching(/ignored a link/) })],
    ]);
    close(undefined);
    await first;
  });

  it('works while the message about the one before is still there', async () => {
    boxes('enter');
    window.showInformationMessage.mockReturnValue(new Promise(() => {}));
    const handler = links();
    await handler.handleUri({ path: '/add', query: 'host=a.test&ports=80' });
    await handler.handleUri({ path: '/add', query: 'host=b.test&ports=80' });
    expect(update).toHaveBeenCalledTimes(2);
    expect(failed).not.toHaveBeenCalled();
  });
});

describe('a recipe', () => {
  /** Chooses the recipe that has that label, and returns the boxes. */
  async function choose(label: RegExp): Promise<Box[]> {
    const shown = boxes('enter');
    window.showQuickPick.mockImplementation(((items: Pick[]) =>
      Promise.resolve(items.find((item) => label.test(item.label)))) as never);
    await chooseResource(configuration);
    return shown;
  }

  it('leads a port of the remote to a service on this machine', async () => {
    await choose(/service on my machine/);
    expect(update.mock.calls).toEqual([['resources', [{ host: 'localhost', ports: [3000], as: 'localhost' }], 1]]);
  });

  it('fills in the usual port, and shows an example of the host', async () => {
    const shown = await choose(/Redis/);
    expect(shown.map(({ value }) => value)).toEqual([undefined, '6379', undefined]);
    expect(shown[0]?.placeHolder).toBe('redis.corp.test');
  });

  it('that the user does not choose adds nothing', async () => {
    expect(await choose(/no such/)).toEqual([]);
    expect(update).not.toHaveBeenCalled();
  });
});
