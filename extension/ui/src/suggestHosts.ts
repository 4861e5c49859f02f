// Finds hosts in the files of a workspace. Only hosts, ports, and the names of settings leave this file: never a
// value, since a value may hold a password.
import { parse as parseIni } from 'ini';
import { parse as parseJson } from 'jsonc-parser';
import { isMap, isScalar, isSeq, parseAllDocuments } from 'yaml';

/** A host that a file of the workspace names. */
export interface Suggestion {
  host: string;
  port: number;
  /** The file's path in the workspace. */
  file: string;
  /** From 1. */
  line: number;
  /** The name of the setting or variable; empty if it has none. */
  name: string;
}

/** A setting in a file: its name and its value. */
type Setting = [name: string, value: string];

/** The most settings that are looked at in one file. */
const MOST_SETTINGS = 5000;
/** The most characters of a value or a line, and the most hosts of a file. */
const MOST_LENGTH = 4096;
const MOST_HOSTS = 100;
/** The longest YAML file, in characters. */
const MOST_YAML = 32 << 10;

/** The kinds of files that are read, as globs of the editor, and how each is parsed. */
export const KINDS: { glob: string; parse: (text: string) => Setting[] }[] = [
  { glob: '**/{.env,.env.*,*.env}', parse: fromIni },
  { glob: '**/{.npmrc,pip.conf,pip.ini,.pypirc}', parse: fromIni },
  { glob: '**/application*.properties', parse: fromIni },
  { glob: '**/{compose,docker-compose}*.{yml,yaml}', parse: fromYaml },
  { glob: '**/application*.{yml,yaml}', parse: fromYaml },
  { glob: '**/{kubeconfig,kubeconfig.yml,kubeconfig.yaml,*.kubeconfig}', parse: fromYaml },
  { glob: '**/{devcontainer,.devcontainer}.json', parse: fromJson },
  { glob: '**/go.mod', parse: fromGoMod },
  { glob: '**/{pom.xml,settings.xml,*.gradle,*.gradle.kts,pyproject.toml,poetry.toml}', parse: fromText },
  { glob: '.git/config', parse: fromIni },
];

/** Returns the hosts that a file names and that a private network may have, each once. */
export function suggest(file: string, text: string, parse: (text: string) => Setting[]): Suggestion[] {
  let settings: Setting[];
  try {
    settings = parse(text)
      .filter(([, value]) => value.length <= MOST_LENGTH)
      .slice(0, MOST_SETTINGS);
  } catch {
    return [];
  }
  const lines = text.split('\n');
  const found = new Map<string, Suggestion>();
  const add = (name: string, host: string, port: number) => {
    const key = `${host}:${port}`;
    if (found.has(key) || found.size >= MOST_HOSTS || !isPrivate(host)) return;
    const mentions = lines.findIndex((line) => line.toLowerCase().includes(host) && line.includes(name));
    const line = 1 + (mentions >= 0 ? mentions : lines.findIndex((each) => each.toLowerCase().includes(host)));
    found.set(key, { host, port, file, line: Math.max(1, line), name });
  };
  for (const [name, value] of settings) {
    for (const { host, port } of endpoints(value)) add(name, host, port);
  }
  for (const { name, host, port } of pairs(settings)) add(name, host, port);
  return [...found.values()];
}

const PORTS: Record<string, number> = {
  amqp: 5672,
  amqps: 5671,
  http: 80,
  https: 443,
  kafka: 9092,
  ldap: 389,
  ldaps: 636,
  mariadb: 3306,
  mongodb: 27017,
  mssql: 1433,
  mysql: 3306,
  nats: 4222,
  oracle: 1521,
  postgres: 5432,
  postgresql: 5432,
  redis: 6379,
  rediss: 6379,
  sqlserver: 1433,
  ssh: 22,
};

/** The hosts in a value: URLs (JDBC's too), user@host:path as git has it, and host:port. */
function endpoints(value: string): { host: string; port: number }[] {
  const found: { host: string; port: number }[] = [];
  const add = (scheme: string, host: string | undefined, port: string | undefined) => {
    const number = port ? Number(port) : PORTS[scheme];
    if (host && number !== undefined && number > 0 && number < 65536)
      found.push({ host: host.toLowerCase(), port: number });
  };
  for (const [, scheme = '', rest = ''] of value.matchAll(
    /\b(?:jdbc:)?([a-z][a-z0-9]{0,20})(?:\+[\w.+]{1,20})?:(?:thin:@)?\/\/([^/\s"'<>()?;]+)/gi,
  )) {
    // Several hosts may stand after the credentials.
    for (const one of rest.slice(rest.lastIndexOf('@') + 1).split(',')) {
      const [, host, port] = /^([\w.-]+)(?::(\d{1,5}))?$/.exec(one) ?? [];
      add(scheme.toLowerCase(), host, port);
    }
  }
  if (found.length > 0) return found;
  const [, git] = /^[\w.-]+@([\w.-]+):(?!\d+$)[^\s]+$/.exec(value) ?? [];
  if (git) add('ssh', git, undefined);
  const [, host, port] = /^([a-z0-9][\w.-]*\.[\w-]+):(\d{1,5})$/i.exec(value) ?? [];
  if (host) add('', host, port);
  return found;
}

/** The hosts that two settings name: X_HOST and X_PORT. */
function pairs(settings: Setting[]): { name: string; host: string; port: number }[] {
  const all = new Map(settings);
  return settings.flatMap(([name, value]) => {
    const [, stem] = /^(.*[_.-]|PG)(?:host|hostname|server)$/i.exec(name) ?? [];
    if (stem === undefined || !/^[a-z0-9][\w.-]*$/i.test(value)) return [];
    const port = ['port', 'PORT'].map((last) => Number(all.get(`${stem}${last}`))).find((n) => n > 0 && n < 65536);
    const usual = Object.keys(PORTS).find((scheme) => name.toLowerCase().includes(scheme.slice(0, 5)));
    const known = port ?? (/^(pg|db|database)/i.test(name) ? 5432 : usual === undefined ? undefined : PORTS[usual]);
    return known === undefined ? [] : [{ name, host: value.toLowerCase(), port: known }];
  });
}

/** Sites of the Internet that many projects name. */
const PUBLIC =
  /(^|\.)(github\.com|githubusercontent\.com|gitlab\.com|bitbucket\.org|npmjs\.(org|com)|yarnpkg\.com|pypi\.org|pythonhosted\.org|maven\.org|apache\.org|gradle\.org|docker\.(io|com)|ghcr\.io|quay\.io|golang\.org|google\.golang\.org|gopkg\.in|k8s\.io|google\.com|googleapis\.com|amazonaws\.com|azure\.com|microsoft\.com|w3\.org|sigs\.k8s\.io|schemastore\.org)$/;

/** Whether a host can be in a private network: not this machine, no container's name, no well-known site. */
function isPrivate(host: string): boolean {
  if (!/^[a-z0-9]([\w.-]*[a-z0-9])?$/.test(host) || !host.includes('.')) return false;
  const octets = /^(\d+)\.(\d+)\.\d+\.\d+$/.exec(host);
  if (octets) {
    const [first, second] = [Number(octets[1]), Number(octets[2])];
    return first === 10 || (first === 172 && second >= 16 && second < 32) || (first === 192 && second === 168);
  }
  return !/\.(localhost|invalid)$|^(host\.docker\.internal|example\.(com|org|net))$/.test(host) && !PUBLIC.test(host);
}

function fromIni(text: string): Setting[] {
  return flat(parseIni(text.replace(/^[ \t]*export[ \t]+/gm, '')));
}

function fromJson(text: string): Setting[] {
  return flat(parseJson(text));
}

function fromYaml(text: string): Setting[] {
  // The parser needs quadratic time for some texts.
  if (text.length > MOST_YAML || text.split('\n').some((line) => line.length > MOST_LENGTH)) return [];
  const settings: Setting[] = [];
  const visit = (node: unknown, name: string) => {
    if (settings.length >= MOST_SETTINGS) return;
    if (isMap(node)) {
      for (const { key, value } of node.items) {
        const own = isScalar(key) ? String(key.value) : '';
        visit(value, name === '' || own === '' ? own : `${name}.${own}`);
      }
    } else if (isSeq(node)) {
      for (const item of node.items) visit(item, name);
    } else if (isScalar(node) && ['string', 'number'].includes(typeof node.value)) {
      // A list of "NAME=value", as compose files have it.
      const value = String(node.value);
      const [, own, rest] = /^([A-Z_][A-Z0-9_]*)=(.*)$/s.exec(value) ?? [];
      settings.push(own === undefined ? [name, value] : [own, rest ?? '']);
    }
  };
  for (const document of parseAllDocuments(text)) if ('contents' in document) visit(document.contents, '');
  return settings.map(([name, value]) => [name.split('.').slice(-2).join('.'), value]);
}

/** The hosts of modules that are not public. */
function fromGoMod(text: string): Setting[] {
  const modules = text
    .split('\n')
    .filter((line) => line.length < MOST_LENGTH)
    .map((line) => /^[ \t]*(?:require[ \t]+)?([a-z0-9.-]+\.[a-z]+)\/\S+[ \t]+v\d/.exec(line) ?? []);
  return modules.filter(([, host]) => host !== undefined).map(([, host = '']) => ['require', `https://${host}/`]);
}

/** Formats without a parser of their own here: every URL in the text. */
function fromText(text: string): Setting[] {
  return [...text.matchAll(/\bhttps?:\/\/[^\s"'<>()]{1,500}/g)].map(([url]) => ['', url]);
}

function flat(value: unknown, name = ''): Setting[] {
  if (typeof value === 'string' || typeof value === 'number') return [[name, String(value)]];
  if (Array.isArray(value)) return value.flatMap((item) => flat(item, name));
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, item]) => flat(item, key));
}
