import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SettingsWatcher } from '../../../ui/src/settingsWatcher';
import { events } from '../../vscode';

/** The user changes these settings. */
const change = (...names: string[]) =>
  events.configuration.fire({ affectsConfiguration: (section) => names.includes(section) });

const watch = () => {
  const apply = vi.fn(() => Promise.resolve());
  const failed = vi.fn();
  return { apply, failed, watcher: new SettingsWatcher(apply, failed) };
};

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('SettingsWatcher', () => {
  it.each(['resources', 'workspaceResources', 'exits'])('follows %s', async (name) => {
    const { apply, watcher } = watch();
    change(`causeway.${name}`);
    await vi.advanceTimersByTimeAsync(1000);
    expect(apply).toHaveBeenCalledTimes(1);
    watcher.dispose();
  });

  it('tells of several changes together, once the user has stopped', async () => {
    const { apply, watcher } = watch();
    change('causeway.resources');
    await vi.advanceTimersByTimeAsync(200);
    change('causeway.exits');
    await vi.advanceTimersByTimeAsync(200);
    expect(apply).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(200);
    expect(apply).toHaveBeenCalledTimes(1);
    change('causeway.resources');
    await vi.advanceTimersByTimeAsync(1000);
    expect(apply).toHaveBeenCalledTimes(2);
    watcher.dispose();
  });

  it('ignores settings that no session follows', async () => {
    const { apply, watcher } = watch();
    change('causeway.autoConnect', 'editor.fontSize');
    await vi.advanceTimersByTimeAsync(1000);
    expect(apply).not.toHaveBeenCalled();
    watcher.dispose();
  });

  it('reads the lists again when the workspace becomes trusted', async () => {
    const { apply, watcher } = watch();
    events.trust.fire(undefined);
    await vi.advanceTimersByTimeAsync(1000);
    expect(apply).toHaveBeenCalledTimes(1);
    watcher.dispose();
  });

  it('reports what fails', async () => {
    const { apply, failed, watcher } = watch();
    const error = new Error('the helper is gone');
    apply.mockRejectedValue(error);
    change('causeway.resources');
    await vi.advanceTimersByTimeAsync(1000);
    expect(failed.mock.calls).toEqual([[error]]);
    watcher.dispose();
  });

  it('says nothing once it is disposed of, and listens no more', async () => {
    const before = [events.configuration.size, events.trust.size];
    const { apply, watcher } = watch();
    change('causeway.resources');
    watcher.dispose();
    change('causeway.resources');
    await vi.advanceTimersByTimeAsync(1000);
    expect(apply).not.toHaveBeenCalled();
    expect([events.configuration.size, events.trust.size]).toEqual(before);
  });
});
