import { beforeEach, describe, expect, it, vi } from 'vitest';
import { SettingsDiagnostics } from '../../../ui/src/settingsDiagnostics';
import { entryName, locate, locateResource, settingsPath } from '../../../ui/src/settingsFile';
import { diagnostics, files, Uri, window, workspace } from '../../vscode';

const USER = 'vscode-userdata:///home/u/User/settings.json';
const WORKSPACE = 'vscode-remote://h/w/.vscode/settings.json';
const text = `{
  // The user's own.
  "causeway.resources": [
    { "host": "a.test", "ports": [80] },
    { "name": "b", "host": "b.test",
      "ports": [ 0 ] },
  ],
}`;

const shown = () =>
  diagnostics.set.mock.calls.flatMap(([uri, list]) =>
    (list as { message: string; range: { start: { line: number } } }[]).map(
      ({ message, range }) => `${String(uri)}:${range.start.line + 1}: ${message}`,
    ),
  );
const make = () =>
  new SettingsDiagnostics(Uri.parse('file:///home/u/User/globalStorage/causeway-dev.causeway') as never);

beforeEach(() => {
  vi.resetAllMocks();
  files.clear();
  workspace.workspaceFile = undefined;
  workspace.workspaceFolders = [{ uri: Uri.parse('vscode-remote://h/w') }];
});

describe('settingsPath', () => {
  it.each([
    ['resources[2].ports[0]', ['causeway.resources', 2, 'ports', 0]],
    ['causeway.workspaceResources[1]', ['causeway.workspaceResources', 1]],
    ['exits.office.url', ['causeway.exits', 'office', 'url']],
    ['exits["my office"].url', ['causeway.exits', 'my office', 'url']],
    ['', ['causeway.resources']],
  ])('of %s', (path, want) => {
    expect(settingsPath(path)).toEqual(want);
  });
});

describe('locate', () => {
  const at = (span: { offset: number; length: number } | undefined) =>
    span && text.slice(span.offset, span.offset + span.length);

  it('finds a value, or the nearest one around it, among comments and trailing commas', () => {
    expect(at(locate(text, ['causeway.resources', 1, 'ports', 0]))).toBe('0');
    expect(at(locate(text, ['causeway.resources', 0, 'as']))).toContain('"a.test"');
    expect(at(locate(text, ['causeway.exits']))).toBeUndefined();
    expect(locate('{ broken', ['causeway.resources'])).toBeUndefined();
    expect(locate('', ['causeway.resources'])).toBeUndefined();
  });

  it('finds settings in a workspace file', () => {
    const file = `{ "folders": [], "settings": ${text.replace(/,\n}$/, '\n}')} }`;
    expect(locate(file, ['causeway.resources', 1])).toBeDefined();
  });

  it('finds a resource by its name, as the gateway names it', () => {
    expect(at(locateResource(text, 'causeway.resources', 'b'))).toMatch(/^\{ "name": "b"/);
    expect(at(locateResource(text, 'causeway.resources', 'a.test'))).toMatch(/^\{ "host": "a.test"/);
    expect(at(locateResource(text, 'causeway.resources', 'none'))).toMatch(/^\[/);
    expect(locateResource(text, 'causeway.workspaceResources', 'b')).toBeUndefined();
    expect([{ host: 'h' }, { host: 'h', as: 'a' }, { name: 'n', as: 'a' }, 'x', null].map(entryName)).toEqual([
      'h',
      'a',
      'n',
      undefined,
      undefined,
    ]);
  });
});

describe('SettingsDiagnostics', () => {
  it('shows each mistake at its line, in the file that has it', async () => {
    files.set(USER, text);
    files.set(WORKSPACE, '{\n\n"causeway.workspaceResources": 5 }');
    const elsewhere = await make().show([
      { path: 'resources[1].ports[0]', message: 'port 0 cannot be reached' },
      { path: 'causeway.workspaceResources', message: 'must be an array' },
    ]);
    expect(elsewhere).toEqual([]);
    expect(shown()).toEqual([`${USER}:6: Port 0 cannot be reached.`, `${WORKSPACE}:3: Must be an array.`]);
  });

  it('returns the mistakes that are in no file', async () => {
    files.set(USER, '{}');
    const problems = [
      { path: 'resources[0]', message: 'has no host' },
      { path: '/home/u/approvals.json', message: 'is not writable' },
    ];
    expect(await make().show(problems)).toEqual(problems);
    expect(shown()).toEqual([]);
  });

  it('takes mistakes away that are gone', async () => {
    files.set(USER, text);
    const made = make();
    await made.show([{ path: 'resources[1]', message: 'm' }]);
    diagnostics.set.mockClear();
    await made.show([]);
    expect(diagnostics.clear).toHaveBeenCalledTimes(2);
    expect(shown()).toEqual([]);
  });

  it('shows the latest mistakes, whichever file was read first', async () => {
    files.set(USER, text);
    const made = make();
    await Promise.all([
      made.show([{ path: 'resources[0]', message: 'old' }]),
      made.show([{ path: 'resources[1]', message: 'new' }]),
    ]);
    expect(shown()).toEqual([`${USER}:5: New.`]);
  });

  it('opens the file at a mistake and at a resource', async () => {
    files.set(USER, text);
    const made = make();
    expect(await made.open({ path: 'resources[1].ports[0]', message: 'm' })).toBe(true);
    expect(await made.openResource({ from: 'user', name: 'a.test' })).toBe(true);
    expect(await made.openResource({ from: 'workspace', name: 'a.test' })).toBe(false);
    const lines = window.showTextDocument.mock.calls.map(
      ([uri, options]) =>
        `${String(uri)}:${(options as { selection: { start: { line: number } } }).selection.start.line + 1}`,
    );
    expect(lines).toEqual([`${USER}:6`, `${USER}:4`]);
  });
});
