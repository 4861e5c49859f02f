import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Companion } from '../../../ui/src/companion';
import { installCompanion } from '../../../ui/src/installCompanion';
import { Trouble } from '../../../ui/src/trouble';
import { commands, files, Uri, window } from '../../vscode';

const signal = () => new AbortController().signal;
const ours = { protocol: 1, version: '0.2.0' };
const missing = () => Promise.reject(new Error("command '_causeway.remote.hello' not found"));

/** A companion that answers with the first function, and after install with the second. */
function rig(answer: () => Promise<unknown>, installed: () => Promise<unknown> = answer) {
  let current = answer;
  const execute = vi.fn((_: string, ..._args: unknown[]) => current());
  const install = vi.fn((_: 'install' | 'update') => {
    current = installed;
    return Promise.resolve();
  });
  const connectAfterRestart = vi.fn();
  const log = vi.fn();
  const companion = new Companion({ execute, version: '0.2.0', install, connectAfterRestart, log });
  return { companion, execute, install, connectAfterRestart, log };
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.resetAllMocks();
  files.clear();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('Companion', () => {
  it('waits for a companion that is activating', async () => {
    let calls = 0;
    const { companion, install } = rig(() => (++calls < 4 ? missing() : Promise.resolve(ours)));
    const hello = companion.hello(signal(), true);
    await vi.advanceTimersByTimeAsync(3000);
    await hello;
    expect(calls).toBe(4);
    expect(install).not.toHaveBeenCalled();
  });

  it('installs it when it is missing for 3 s, and goes on', async () => {
    const { companion, install } = rig(missing, () => Promise.resolve(ours));
    const hello = companion.hello(signal(), true);
    await vi.advanceTimersByTimeAsync(2900);
    expect(install).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(200);
    await hello;
    expect(install.mock.calls).toEqual([['install']]);
  });

  it('waits for the remote extension host, which may be starting, and installs nothing meanwhile', async () => {
    const { companion, install } = rig(() => new Promise((resolve) => setTimeout(() => resolve(ours), 15_000)));
    const hello = companion.hello(signal(), true);
    await vi.advanceTimersByTimeAsync(15_000);
    await hello;
    expect(install).not.toHaveBeenCalled();
  });

  it('installs nothing while it resumes a session', async () => {
    const { companion, install } = rig(missing);
    const hello = companion.hello(signal(), false);
    const seen = expect(hello).rejects.toBeInstanceOf(Trouble);
    await vi.advanceTimersByTimeAsync(25_000);
    await seen;
    expect(install).not.toHaveBeenCalled();
  });

  it('tells at once when it cannot be installed', async () => {
    const { companion, install } = rig(missing);
    install.mockRejectedValue(new Trouble('the gallery answers 404'));
    const hello = companion.hello(signal(), true);
    const seen = expect(hello).rejects.toThrow('404');
    await vi.advanceTimersByTimeAsync(3500);
    await seen;
  });

  it('says what to do when it does not start although it is installed', async () => {
    const { companion, install } = rig(missing, missing);
    const hello = companion.hello(signal(), true);
    const seen = expect(hello).rejects.toMatchObject({
      name: 'Trouble',
      remedies: [{ command: 'causeway.installCompanion' }, { command: 'causeway.connect' }],
    });
    await vi.advanceTimersByTimeAsync(25_000);
    await seen;
    expect(install).toHaveBeenCalledTimes(1);
  });

  it('updates one that is too old, and connects once the user has restarted the extensions', async () => {
    for (const refusal of [
      { refused: 'update the companion', version: '0.1.9' },
      { refused: 'update the companion' },
    ]) {
      const { companion, install, connectAfterRestart } = rig(() => Promise.resolve(refusal));
      await expect(companion.hello(signal(), true)).rejects.toMatchObject({
        remedies: [{ command: 'workbench.action.restartExtensionHost' }],
      });
      expect(install.mock.calls).toEqual([['update']]);
      expect(connectAfterRestart).toHaveBeenCalledTimes(1);
    }
  });

  it('updates no companion that is newer than this extension', async () => {
    for (const reply of [
      { refused: 'update the extension', version: '0.10.0' },
      { protocol: 99, version: '9.0.0' },
    ]) {
      const { companion, install } = rig(() => Promise.resolve(reply));
      await expect(companion.hello(signal(), true)).rejects.toBeInstanceOf(Trouble);
      expect(install).not.toHaveBeenCalled();
    }
  });

  it('goes on with an older one that fits, and updates it once for the next time', async () => {
    const { companion, install, log } = rig(() => Promise.resolve({ protocol: 1, version: '0.1.9' }));
    install.mockRejectedValue(new Error('offline'));
    await companion.hello(signal(), true);
    await companion.hello(signal(), true);
    expect(install.mock.calls).toEqual([['update']]);
    await vi.advanceTimersByTimeAsync(0);
    expect(log.mock.calls).toEqual([[expect.stringContaining('offline')]]);
  });

  it('can be given up', async () => {
    const abort = new AbortController();
    const hello = rig(() => new Promise(() => {})).companion.hello(abort.signal, true);
    abort.abort(new Error('cancelled'));
    await expect(hello).rejects.toThrow('cancelled');
  });
});

describe('installCompanion', () => {
  const extension = Uri.parse('file:///ext') as never;

  it('takes the file that the package brought, or else the gallery', async () => {
    await installCompanion(extension, 'install');
    files.set('file:///ext/companion.vsix', '');
    await installCompanion(extension, 'update');
    expect(commands.executeCommand.mock.calls).toEqual([
      ['workbench.extensions.installExtension', 'causeway-dev.causeway-remote'],
      ['workbench.extensions.installExtension', Uri.parse('file:///ext/companion.vsix')],
    ]);
    const titles = window.withProgress.mock.calls.map(([options]) => (options as { title: string }).title);
    expect(titles).toEqual([expect.stringMatching(/^Installing .* on the remote/), expect.stringMatching(/^Updating/)]);
  });

  it('says why it failed, and what else to do', async () => {
    commands.executeCommand.mockRejectedValueOnce(new Error('404 not found'));
    await expect(installCompanion(extension, 'install')).rejects.toMatchObject({
      message: expect.stringContaining('404 not found.'),
      remedies: [{ command: 'workbench.extensions.action.installVSIX' }, { command: 'causeway.connect' }],
    });
  });

  it('does not wait for ever', async () => {
    commands.executeCommand.mockReturnValueOnce(new Promise(() => {}));
    const seen = expect(installCompanion(extension, 'install')).rejects.toBeInstanceOf(Trouble);
    await vi.advanceTimersByTimeAsync(200_000);
    await seen;
  });
});
