import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Memento, WorkspaceConfiguration } from 'vscode';
import { firstContact } from '../../../ui/src/firstContact';
import { KINDS, suggest } from '../../../ui/src/suggestHosts';
import { suggestResources } from '../../../ui/src/suggestResources';
import { Trouble } from '../../../ui/src/trouble';
import { commands, files, Uri, window, workspace } from '../../vscode';

/** Returns the hosts that a file names, as "host:port line name". */
function found(file: string, text: string): string[] {
  const name = file.split('/').at(-1) ?? '';
  const kind = KINDS.find(({ glob }) => {
    const pattern = glob
      .replace(/^\*\*\//, '')
      .replace(/\./g, '\\.')
      .replace(/\*/g, '.*')
      .replace(/\{([^}]*)\}/g, (_, list: string) => `(${list.replaceAll(',', '|')})`);
    return new RegExp(`^${pattern}$`).test(glob.startsWith('.git') ? file : name);
  });
  if (kind === undefined) throw new Error(`no kind of file for ${file}`);
  return suggest(file, text, kind.parse).map(
    ({ host, port, line, name: setting }) => `${host}:${port} ${line} ${setting}`,
  );
}

const SECRET = 'hunter2';

describe('suggest', () => {
  it.each([
    [
      '.env',
      `# the shop\nexport DATABASE_URL="postgresql://app:${SECRET}@orders-db.corp.test:5433/shop?sslmode=require"\nREDIS_HOST=cache.corp.test\nREDIS_PORT=6380\nPGHOST=pg.corp.test\nDB_HOST=db.corp.test\nLOCAL=http://localhost:3000\n`,
      [
        'orders-db.corp.test:5433 2 DATABASE_URL',
        'cache.corp.test:6380 3 REDIS_HOST',
        'pg.corp.test:5432 5 PGHOST',
        'db.corp.test:5432 6 DB_HOST',
      ],
    ],
    [
      '.env.local',
      `MONGO=mongodb+srv://u:${SECRET}@a.corp.test,b.corp.test:27018/x\nBROKER=kafka-1.corp.test:9092`,
      ['a.corp.test:27017 1 MONGO', 'b.corp.test:27018 1 MONGO', 'kafka-1.corp.test:9092 2 BROKER'],
    ],
    [
      '.npmrc',
      `registry=https://registry.yarnpkg.com/\n@corp:registry=https://npm.corp.test/\n//npm.corp.test/:_authToken=${SECRET}`,
      ['npm.corp.test:443 2 @corp:registry'],
    ],
    [
      'kubeconfig.yaml',
      `apiVersion: v1\nclusters:\n- name: shop\n  cluster:\n    server: https://k8s.corp.test:6443\nusers:\n- name: dev\n  user:\n    token: ${SECRET}`,
      ['k8s.corp.test:6443 5 cluster.server'],
    ],
    ['pip.conf', '[global]\nindex-url = https://pypi.corp.test:8443/simple\n', ['pypi.corp.test:8443 2 index-url']],
    [
      'docker-compose.yml',
      `services:\n  web:\n    environment:\n      - DATABASE_URL=postgres://app:${SECRET}@orders-db.corp.test/shop\n      - CACHE=redis://cache:6379\n    image: registry.corp.test:5000/web\n  api:\n    environment:\n      METRICS: http://metrics.corp.test:9090\n`,
      ['orders-db.corp.test:5432 4 DATABASE_URL', 'metrics.corp.test:9090 9 environment.METRICS'],
    ],
    [
      'src/main/resources/application.properties',
      `spring.datasource.url=jdbc:postgresql://pg.corp.test:5432/shop\nspring.datasource.password=${SECRET}\nother.url=jdbc:oracle:thin:@//ora.corp.test:1522/svc\nlegacy.url=jdbc:sqlserver://sql.corp.test;databaseName=x`,
      [
        'pg.corp.test:5432 1 spring.datasource.url',
        'ora.corp.test:1522 3 other.url',
        'sql.corp.test:1433 4 legacy.url',
      ],
    ],
    [
      'application.yaml',
      'spring:\n  datasource:\n    url: jdbc:mysql://my.corp.test/shop\n',
      ['my.corp.test:3306 3 datasource.url'],
    ],
    [
      '.devcontainer/devcontainer.json',
      '{ // comment\n "containerEnv": { "API": "https://api.corp.test/v1" } }',
      ['api.corp.test:443 2 API'],
    ],
    [
      'go.mod',
      'module git.corp.test/shop\n\nrequire (\n\tgit.corp.test/lib v1.2.3\n\tgithub.com/x/y v0.1.0\n)\n',
      ['git.corp.test:443 1 require'],
    ],
    [
      'pom.xml',
      '<project xmlns="http://maven.apache.org/POM/4.0.0">\n<repository><url>https://maven.corp.test/repo</url>',
      ['maven.corp.test:443 2 '],
    ],
    [
      '.git/config',
      '[remote "origin"]\n\turl = git@git.corp.test:shop/web.git\n[remote "other"]\n\turl = https://github.com/x/y\n',
      ['git.corp.test:22 2 url'],
    ],
  ])('reads %s', (file, text, want) => {
    expect(found(file, text)).toEqual(want);
  });

  it('never has a value among what it returns', () => {
    const text = `A=postgres://u:${SECRET}@a.corp.test/${SECRET}\nB=https://${SECRET}@b.corp.test/?token=${SECRET}\nPASSWORD=${SECRET}`;
    const all = suggest('.env', text, (KINDS[0] as (typeof KINDS)[0]).parse);
    expect(all.map(({ host }) => host)).toEqual(['a.corp.test', 'b.corp.test']);
    expect(JSON.stringify(all)).not.toContain(SECRET);
  });

  it('leaves out this machine, public sites and containers', () => {
    const hosts = ['localhost', '127.0.0.1', '8.8.8.8', 'db', 'github.com', 'repo.maven.apache.org', 'example.com'];
    const text = hosts.map((host, i) => `U${i}=http://${host}:8080/`).join('\n');
    expect(found('.env', text)).toEqual([]);
    expect(found('.env', 'U=http://10.1.2.3:8080/\nV=http://172.20.0.5/')).toEqual([
      '10.1.2.3:8080 1 U',
      '172.20.0.5:80 2 V',
    ]);
  });

  it.each(['{', '\0\x01', 'a: &a [*a, *a]', '"'.repeat(10_000), '='.repeat(10_000)])('survives nonsense', (text) => {
    for (const { parse } of KINDS) expect(suggest('x', text, parse)).toEqual([]);
  });
});

describe('a hostile file', () => {
  // A regular expression that backtracks would need minutes for these.
  const parts = [
    '\n',
    ' ',
    'a',
    'a.',
    'a:',
    'a+',
    '//',
    'a@',
    'http://',
    'require ',
    'export ',
    '- a\n',
    '[',
    '"',
    '"\n',
  ];
  it.each([...parts, 'a: [\n', '&a *a\n', 'X_HOST=a.b\n'])('of many times %j is read quickly', (text) => {
    for (const [parse, glob] of new Map(KINDS.map((kind) => [kind.parse, kind.glob]))) {
      const large = text.repeat((glob.includes('yaml') ? 32 << 10 : 64 << 10) / text.length);
      const start = performance.now();
      suggest('x', large, parse);
      expect(performance.now() - start, glob).toBeLessThan(5000);
    }
  });
});

describe('Suggest Resources', () => {
  const settings = (resources: unknown = undefined) => {
    const update = vi.fn(() => Promise.resolve());
    const inspect = (key: string) => (key === 'resources' ? { globalValue: resources } : { workspaceValue: undefined });
    return { update, configuration: { inspect, update } as unknown as WorkspaceConfiguration };
  };
  const pick = (target: number) =>
    window.showQuickPick.mockImplementation(((items: unknown[], { canPickMany }: { canPickMany?: boolean }) =>
      Promise.resolve(canPickMany ? items : items[target])) as never);

  beforeEach(() => {
    vi.resetAllMocks();
    files.clear();
    workspace.workspaceFolders = [{ uri: Uri.parse('vscode-remote://h/w') }];
    files.set(
      'vscode-remote://h/w/.env',
      `A=postgres://u:${SECRET}@a.corp.test/x\nB=http://a.corp.test/\nC=http://b.corp.test/`,
    );
    files.set('vscode-remote://h/w/.git/config', '[remote "o"]\nurl = git@git.corp.test:x/y');
  });

  it('offers hosts with file and line, and adds what was picked to the user settings', async () => {
    pick(0);
    const { update, configuration } = settings([{ host: 'b.corp.test', ports: [80] }]);
    await suggestResources(configuration);
    const [items] = window.showQuickPick.mock.calls[0] as unknown as [{ label: string; description: string }[]];
    expect(items.map(({ label, description }) => `${label} ${description}`)).toEqual([
      'a.corp.test:5432 .env:1 · A',
      'a.corp.test:80 .env:2 · B',
      'git.corp.test:22 .git/config:2 · url',
    ]);
    expect(JSON.stringify(window.showQuickPick.mock.calls)).not.toContain(SECRET);
    expect(update.mock.calls).toEqual([
      [
        'resources',
        [
          { host: 'b.corp.test', ports: [80] },
          { host: 'a.corp.test', ports: [80, 5432] },
          { host: 'git.corp.test', ports: [22] },
        ],
        1,
      ],
    ]);
  });

  it('marks what the remote cannot resolve, puts it first, and does without if the companion does not tell', async () => {
    const { configuration } = settings();
    const labels = () =>
      (window.showQuickPick.mock.lastCall as unknown as [{ label: string; picked: boolean }[]])[0].map(
        ({ label, picked }) => `${label}${picked ? ' *' : ''}`,
      );
    for (const answer of [
      Promise.resolve(['git.corp.test']),
      Promise.reject(new Error('not found')),
      Promise.resolve(5),
    ]) {
      commands.executeCommand.mockReturnValueOnce(answer);
      await suggestResources(configuration);
      const rest = ['a.corp.test:5432', 'a.corp.test:80', 'b.corp.test:80'];
      const isTold = Array.isArray(await answer.catch(() => undefined));
      expect(labels()).toEqual(isTold ? ['git.corp.test:22 *', ...rest] : [...rest, 'git.corp.test:22']);
    }
    expect(commands.executeCommand.mock.calls[0]).toEqual([
      '_causeway.remote.unresolved',
      ['a.corp.test', 'b.corp.test', 'git.corp.test'],
    ]);
  });

  it('asks for them in the settings of the workspace instead', async () => {
    pick(1);
    const { update, configuration } = settings();
    await suggestResources(configuration);
    expect(update.mock.calls).toEqual([['workspaceResources', expect.any(Array), 2]]);
  });

  it('changes nothing when the user escapes, and says so when there is nothing', async () => {
    const { update, configuration } = settings();
    await suggestResources(configuration);
    expect(update).not.toHaveBeenCalled();
    files.clear();
    await expect(suggestResources(configuration)).rejects.toBeInstanceOf(Trouble);
  });

  it('connects in the same step where nothing is connected', async () => {
    pick(0);
    const connect = vi.fn(() => Promise.resolve());
    const { update, configuration } = settings();
    await suggestResources(configuration, connect);
    expect(update.mock.calls).toEqual([['resources', expect.any(Array), 1]]);
    expect(update.mock.invocationCallOrder[0]).toBeLessThan(connect.mock.invocationCallOrder[0] ?? 0);
    expect(window.showInformationMessage).not.toHaveBeenCalled();
  });

  describe('at the first contact', () => {
    const memento = () => {
      const kept = new Map<string, unknown>();
      return {
        get: (key: string) => kept.get(key),
        update: (key: string, value: unknown) => Promise.resolve(void kept.set(key, value)),
        keys: () => [...kept.keys()],
      } as unknown as Memento;
    };

    it('tells once for each workspace which hosts it uses, and offers them', async () => {
      const { configuration } = settings();
      const state = memento();
      window.showInformationMessage.mockResolvedValue('Choose…' as never);
      await firstContact(state, configuration, vi.fn());
      const [text] = window.showInformationMessage.mock.calls[0] as unknown as [string];
      expect(text).toMatch(
        /^This workspace uses a\.corp\.test, b\.corp\.test and another private host\. .* reach them/,
      );
      expect(text).not.toContain(SECRET);
      expect(window.showQuickPick).toHaveBeenCalledTimes(1);
      await firstContact(state, configuration, vi.fn());
      expect(window.showInformationMessage).toHaveBeenCalledTimes(1);
    });

    it('looks once, also where it finds none', async () => {
      files.clear();
      const state = memento();
      await firstContact(state, settings().configuration, vi.fn());
      workspace.findFiles.mockClear();
      await firstContact(state, settings().configuration, vi.fn());
      expect(workspace.findFiles).not.toHaveBeenCalled();
    });

    it('waits for the trust of the workspace', async () => {
      const state = memento();
      workspace.isTrusted = false;
      await firstContact(state, settings().configuration, vi.fn());
      workspace.isTrusted = true;
      await firstContact(state, settings().configuration, vi.fn());
      expect(window.showInformationMessage).toHaveBeenCalledTimes(1);
    });

    it('says nothing where there are resources, no private hosts, or no trust', async () => {
      await firstContact(memento(), settings([{ host: 'x.corp.test', ports: [1] }]).configuration, vi.fn());
      workspace.isTrusted = false;
      await firstContact(memento(), settings().configuration, vi.fn());
      workspace.isTrusted = true;
      files.clear();
      await firstContact(memento(), settings().configuration, vi.fn());
      expect(window.showInformationMessage).not.toHaveBeenCalled();
    });
  });

  it('reads no file after the time for all', async () => {
    const began = Date.now();
    const now = vi
      .spyOn(Date, 'now')
      .mockReturnValueOnce(began)
      .mockReturnValue(began + 60_000);
    await expect(suggestResources(settings().configuration)).rejects.toBeInstanceOf(Trouble);
    now.mockRestore();
    expect(workspace.fs.readFile).not.toHaveBeenCalled();
  });

  it('reads no large file', async () => {
    files.clear();
    files.set('vscode-remote://h/w/.env', `A=http://a.corp.test/\n${'#'.repeat(300_000)}`);
    await expect(suggestResources(settings().configuration)).rejects.toBeInstanceOf(Trouble);
    expect(workspace.fs.readFile).not.toHaveBeenCalled();
  });
});
