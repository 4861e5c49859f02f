import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { REMOTE, UI_FRAMES } from '../../shared/src/bridge';
import { COMMANDS } from '../../ui/src/commands';
import { COMPANION_ID } from '../../ui/src/companion';
import { DEFAULTS } from '../../ui/src/settings';
import { TOOLTIP_COMMANDS } from '../../ui/src/statusText';
import { readManifest } from '../manifest';

const root = path.resolve(import.meta.dirname, '../../..');
const read = (file: string) => JSON.parse(readFileSync(path.join(root, file), 'utf8'));
const ui = readManifest('.');
const remote = readManifest('extension/remote');
const sources = globSync('extension/{shared,ui,remote}/src/**/*.ts', { cwd: root }).map((file) => ({
  file,
  text: readFileSync(path.join(root, file), 'utf8'),
}));
const properties: Record<string, Record<string, unknown>> = ui.contributes.configuration.properties;

interface Item {
  command: string;
  title: string;
  category: string;
  icon: string;
  when?: string;
}
const commands: Item[] = ui.contributes.commands;

describe('commands', () => {
  it('are the same in the manifest and in the code', () => {
    expect(commands.map(({ command }) => command).sort()).toEqual([...COMMANDS].sort());
  });

  it('have a title, the category and an icon each', () => {
    for (const { command, title, category, icon } of commands) {
      expect([command, title, category]).toEqual([command, expect.stringMatching(/^[A-Z]/), 'Causeway']);
      expect(icon, command).toMatch(/^\$\([a-z-]+\)$/);
    }
  });

  it('are known wherever the manifest or a tooltip names one', () => {
    const named = [
      ...Object.values<Item[]>(ui.contributes.menus)
        .flat()
        .map(({ command }) => command),
      ...[...JSON.stringify(ui.contributes).matchAll(/command:(causeway\.\w+)/g)].map((match) => match[1]),
      ...TOOLTIP_COMMANDS,
    ];
    expect(named.filter((id) => !(COMMANDS as readonly unknown[]).includes(id))).toEqual([]);
  });

  it('are registered in one place', () => {
    const direct = sources.filter(({ text }) => text.includes('registerCommand(')).map(({ file }) => file);
    expect(direct.sort()).toEqual([
      'extension/remote/src/main.ts',
      'extension/ui/src/app.ts',
      'extension/ui/src/commands.ts',
    ]);
  });

  it('of the halves are private, and activate them', () => {
    for (const id of [UI_FRAMES, ...Object.values(REMOTE)]) expect(id).toMatch(/^_causeway\./);
    expect(ui.activationEvents).toContain(`onCommand:${UI_FRAMES}`);
    expect(remote.activationEvents).toContain(`onCommand:${REMOTE.hello}`);
  });
});

describe('settings', () => {
  it('can be changed by the user alone, but for what a workspace asks for', () => {
    for (const [name, { scope }] of Object.entries(properties)) {
      expect([name, scope]).toEqual([name, name === 'causeway.workspaceResources' ? 'window' : 'application']);
    }
  });

  it('have the defaults that the code has', () => {
    const {
      'causeway.resources': list,
      'causeway.workspaceResources': asked,
      'causeway.exits': exits,
      ...rest
    } = properties;
    expect([list?.default, asked?.default, exits?.default]).toEqual([[], [], {}]);
    const defaults = Object.entries(rest).map(([name, value]) => [name.replace('causeway.', ''), value.default]);
    expect(Object.fromEntries(defaults)).toEqual(DEFAULTS);
  });

  it('name no program and no file', () => {
    for (const name of Object.keys(properties)) expect(name).not.toMatch(/path|file|program|command|exec|binary/i);
  });

  it('have the schema of the helper, which "npm run schema" copies', () => {
    const schema = read('helper/internal/resource/schema.json');
    expect(properties['causeway.resources']).toMatchObject(schema);
    expect(properties['causeway.workspaceResources']?.items).toEqual(schema.items);
  });

  it('are ignored in a workspace that is not trusted where a workspace sets them', () => {
    expect(ui.capabilities.untrustedWorkspaces.restrictedConfigurations).toEqual(['causeway.workspaceResources']);
  });
});

describe('the texts', () => {
  /** Fields of a manifest that users read. */
  const TEXTS = /^(description|markdownDescription|patternErrorMessage|title|contents|altText|label)$/;

  it.each(['.', 'extension/remote'])('of %s are all in its package.nls.json, which has no others', (folder) => {
    const manifest = read(path.join(folder, 'package.json'));
    const texts: Record<string, string> = read(path.join(folder, 'package.nls.json'));
    const keys: string[] = [];
    const literal: string[] = [];
    JSON.stringify([manifest.description, manifest.capabilities, manifest.contributes], (name, value: unknown) => {
      if (typeof value !== 'string') return value;
      const [, key] = /^%(.+)%$/.exec(value) ?? [];
      if (key !== undefined) keys.push(key);
      else if (TEXTS.test(name) && !value.startsWith('Causeway')) literal.push(value);
      return value;
    });
    expect(literal).toEqual([]);
    expect([...new Set(keys)].sort()).toEqual(Object.keys(texts).sort());
  });

  it('of the code are literals that a translator finds', () => {
    for (const { file, text } of sources) {
      const calls = [...text.matchAll(/\b(?:l10n\.)?t\(\s*([^\s)])/g)].filter(
        ([call]) => call.startsWith('l10n') || /[^\w.]t\(/.test(` ${call}`),
      );
      for (const [call, first] of calls)
        expect([file, call, first]).toEqual([file, call, expect.stringMatching(/['"]/)]);
    }
  });

  it('name the actor first, and end once', () => {
    const texts = [
      ...Object.values<string>(read('package.nls.json')),
      ...Object.values<string>(read('extension/remote/package.nls.json')),
    ];
    expect(texts.filter((text) => /^(What|Who|Whoever|That which) |\.\.(?!\.)| {2}/.test(text))).toEqual([]);
  });
});

describe('the welcome view', () => {
  const welcome: { contents: string; when: string }[] = ui.contributes.viewsWelcome;
  const states = ['disconnected', 'connecting', 'connected', 'reconnecting', 'disconnecting', 'error'];

  /** Whether a when clause holds. The clauses here use only &&, !, == and !=. */
  const holds = (when: string, keys: Record<string, unknown>) =>
    when.split(' && ').every((part) => {
      const [, not, key = '', operator, value] = /^(!?)([\w.]+)(?: (==|!=) (\w+))?$/.exec(part) ?? [];
      if (operator === undefined) return Boolean(keys[key]) !== (not === '!');
      return (keys[key] === value) === (operator === '==');
    });

  it('has one text for every state, with one next step as its first button', () => {
    const active = ['connecting', 'connected', 'reconnecting', 'disconnecting'];
    for (const state of states) {
      for (const hasResources of [false, true]) {
        for (const approvals of [false, true]) {
          for (const browser of [false, true]) {
            if (approvals && !['connecting', 'connected'].includes(state)) continue;
            const keys = {
              remoteName: 'ssh-remote',
              'causeway.state': state,
              'causeway.active': active.includes(state),
              'causeway.hasResources': hasResources,
              'causeway.approvals': approvals,
              'causeway.browser': browser,
            };
            const shown = welcome.filter(({ when }) => holds(when, keys));
            expect(shown.length, JSON.stringify(keys)).toBe(1);
          }
        }
      }
    }
    expect(welcome.filter(({ when }) => holds(when, { 'causeway.state': 'disconnected' })).length).toBe(1);
    const [first] = welcome.filter(({ when }) => holds(when, { remoteName: 'x', 'causeway.state': 'disconnected' }));
    expect(first?.contents).toContain('(command:causeway.addResource)');
  });
});

describe('both manifests', () => {
  it('ask for no proposed API, and no code calls one', () => {
    for (const manifest of [ui, remote]) expect(manifest).not.toHaveProperty('enabledApiProposals');
    const calls = /\b(openTunnel|onDidChangeTunnels|remoteAuthority|registerRemoteAuthorityResolver)\b/;
    expect(sources.filter(({ text }) => calls.test(text)).map(({ file }) => file)).toEqual([]);
  });

  it('agree on version, publisher, license and engine, and with the types', () => {
    for (const field of ['version', 'publisher', 'license', 'engines']) expect(remote[field]).toEqual(ui[field]);
    expect(ui.devDependencies['@types/vscode']).toBe(ui.engines.vscode.replace('^', ''));
  });

  it('find each other at installation only', () => {
    expect(`${remote.publisher}.${remote.name}`).toBe(COMPANION_ID);
    expect(ui.extensionPack).toEqual([COMPANION_ID]);
    for (const manifest of [ui, remote]) expect(manifest).not.toHaveProperty('extensionDependencies');
    expect(remote.api).toBe('none');
  });

  it('run where they belong', () => {
    expect([ui.extensionKind, remote.extensionKind]).toEqual([['ui'], ['workspace']]);
    expect([typeof ui.main, typeof ui.browser, typeof remote.main]).toEqual(['string', 'string', 'string']);
    expect(remote).not.toHaveProperty('browser');
  });

  it('never let the helper be announced as an application', () => {
    const attributes: Record<string, { onAutoForward: string }> =
      remote.contributes.configurationDefaults['remote.portsAttributes'];
    const commandLines = [
      '/home/u/.vscode-server/data/User/globalStorage/causeway-dev.causeway-remote/helpers/0a1b/causeway capture --stdio',
      '/opt/causeway capture --stdio',
      '"C:\\Users\\u\\causeway.exe" capture --stdio',
    ];
    for (const line of commandLines) {
      const [, match] = Object.entries(attributes).find(([pattern]) => new RegExp(pattern).test(line)) ?? [];
      expect(match?.onAutoForward, line).toBe('ignore');
    }
    const others = Object.keys(attributes).filter((pattern) =>
      new RegExp(pattern).test('node causeway-docs/server.js'),
    );
    expect(others).toEqual([]);
  });
});

it('every choice among the settings, outside the schema of resources, is explained', () => {
  const unexplained: string[] = [];
  const look = (value: unknown, at: string): void => {
    if (typeof value !== 'object' || value === null) return;
    const { enum: choices, enumDescriptions: texts } = value as { enum?: unknown[]; enumDescriptions?: unknown[] };
    if (Array.isArray(choices) && choices.length !== texts?.length) unexplained.push(at);
    for (const [key, inner] of Object.entries(value)) look(inner, `${at}.${key}`);
  };
  for (const [name, setting] of Object.entries(ui.contributes.configuration.properties)) {
    if (!/esources$/.test(name)) look(setting, name);
  }
  expect(unexplained).toEqual([]);
});
