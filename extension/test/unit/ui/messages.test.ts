import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Approval } from '../../../shared/src/protocol';
import { askApprovals, showProblem, showTrouble } from '../../../ui/src/messages';
import { outcome } from '../../../ui/src/testText';
import { Trouble } from '../../../ui/src/trouble';
import { commands, window } from '../../vscode';

const identity = { authority: 'ssh-remote+h', workspace: 'w', remoteLabel: 'h', workspaceLabel: 'shop', lasting: true };
const approval = (name: string): Approval => ({
  id: `id of ${name}`,
  from: 'user',
  name,
  host: `${name}.corp.test`,
  ports: ['80'],
  protocols: ['tcp'],
  change: 'new',
});
const three = ['web', 'orders', 'metrics'].map(approval);

/** The user picks these rows of the list, and presses the button with that title. */
function user(rows: number[] | undefined, button: string) {
  window.showQuickPick.mockImplementation(((items: unknown[]) =>
    Promise.resolve(rows?.map((row) => items[row]))) as never);
  window.showWarningMessage.mockImplementation(((_: string, _options: unknown, ...buttons: { title: string }[]) =>
    Promise.resolve(buttons.find(({ title }) => title.startsWith(button)))) as never);
}

/** Returns the contents of the modal dialog. */
const dialog = () => {
  const [message, options, ...buttons] = window.showWarningMessage.mock.lastCall as unknown as [
    string,
    { modal: boolean; detail: string },
    ...{ title: string }[],
  ];
  return { ...options, text: `${message}\n${options.detail}`, buttons: buttons.map(({ title }) => title) };
};

beforeEach(() => {
  vi.resetAllMocks();
});

describe('askApprovals', () => {
  it('names in the dialog exactly what was picked, and answers for exactly that', async () => {
    user([0, 2], 'Always');
    const answers = await askApprovals(three, identity);
    expect(answers).toEqual([
      { id: 'id of web', decision: 'always' },
      { id: 'id of metrics', decision: 'always' },
    ]);
    const { text, modal } = dialog();
    expect(modal).toBe(true);
    expect(text).toContain('web.corp.test:80 (tcp)');
    expect(text).toContain('metrics.corp.test:80 (tcp)');
    expect(text).not.toContain('orders');
  });

  it('approves nothing by the list alone', async () => {
    user([0, 1, 2], 'Later');
    expect(await askApprovals(three, identity)).toEqual([]);
    user(undefined, 'Always');
    window.showWarningMessage.mockClear();
    expect(await askApprovals(three, identity)).toEqual([]);
    expect(window.showWarningMessage).not.toHaveBeenCalled();
  });

  it('shows everything about a single one, without a list', async () => {
    user(undefined, 'No');
    expect(await askApprovals([approval('web')], identity)).toEqual([{ id: 'id of web', decision: 'no' }]);
    expect(window.showQuickPick).not.toHaveBeenCalled();
    expect(dialog().text).toContain('Asked for by: your user settings');
  });

  it('has "No" as the first button, and nothing that lasts where no folder is open', async () => {
    user([0, 1], 'Once');
    await askApprovals(three, { ...identity, lasting: false });
    expect(dialog().buttons).toEqual(['No', 'Once', 'Later']);
    await askApprovals(three, identity);
    expect(dialog().buttons[0]).toBe('No');
  });

  it('shows all that an answer holds for in the line of each', async () => {
    user([0, 1], 'No');
    const special: Approval = {
      ...approval('web'),
      from: 'workspace',
      as: 'web.internal',
      addresses: ['10.0.0.0/8'],
      exit: 'office: wireguard "/home/me/office.conf"',
      programs: ['psql'],
    };
    await askApprovals([special, approval('orders')], identity);
    for (const part of [
      'web.internal',
      '10.0.0.0/8',
      '/home/me/office.conf',
      'psql',
      'the workspace',
      'Workspace: shop',
    ]) {
      expect(dialog().text).toContain(part);
    }
  });
});

describe('showTrouble', () => {
  it('shows whole sentences, with our name once', () => {
    for (const text of ['pair first', 'Causeway could not connect. X.']) showTrouble(new Trouble(text));
    showTrouble(new Error('the helper is gone'));
    expect(window.showErrorMessage.mock.calls.map(([text]: unknown[]) => text)).toEqual([
      'Causeway: Pair first.',
      'Causeway could not connect. X.',
      'Causeway: Something failed. The helper is gone. The log has more.',
    ]);
  });

  it('has the remedies as buttons, or else the log', async () => {
    window.showErrorMessage.mockImplementation(((_: string, button: unknown) => Promise.resolve(button)) as never);
    showTrouble(new Trouble('pair first', [{ title: 'Pair…', command: 'causeway.pairLocalHelper', args: [1] }]));
    showTrouble(new Error('boom'));
    await vi.waitFor(() =>
      expect(commands.executeCommand.mock.calls).toEqual([['causeway.pairLocalHelper', 1], ['causeway.showLog']]),
    );
  });
});

it('text of others is never a link in a notification, which could execute a command', () => {
  const evil = 'see [the log](command:workbench.action.quit)';
  showTrouble(new Trouble(evil));
  showTrouble(new Error(evil));
  showProblem(evil);
  const shown = [...window.showErrorMessage.mock.calls, ...window.showWarningMessage.mock.calls] as unknown as [
    string,
  ][];
  const texts = shown.map(([text]) => text);
  texts.push(
    outcome(evil, { ok: true, steps: [] }),
    outcome('a', { ok: false, steps: [{ step: 'dial', ok: false, millis: 1, detail: evil }] }),
  );
  expect(texts.length).toBe(5);
  for (const text of texts) expect(text).toMatch(/\[the log\] \(command:/);
});
