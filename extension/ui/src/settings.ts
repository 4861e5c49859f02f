import { isBridge, isUser } from '../../shared/src/bridge';
import type { ResourcesParams, Sources } from '../../shared/src/protocol';
import { MAX_BRIDGES, MAX_USERS, SOURCE_MODES, SOURCES, USERS } from '../../shared/src/protocol';

/** The settings besides the two lists. */
export interface Settings {
  autoConnect: boolean;
  setProxyEnvironment: boolean;
  strictProxy: boolean;
  /** The ways of capturing connections on the remote. */
  sources: Sources;
  /** Network bridges of the remote whose containers reach the resources too. */
  bridges: string[];
  /** The users of the remote who may reach the resources: one of USERS, or names of users. */
  users: string | string[];
  /** How long a session waits for its link or its window to come back, in minutes. */
  resumeMinutes: number;
  localHelperPort: number;
}

/** The defaults of package.json; a test compares the two. */
export const DEFAULTS: Settings = {
  autoConnect: false,
  setProxyEnvironment: false,
  strictProxy: false,
  sources: { names: 'auto', dns: 'auto', tun: 'auto', proxy: 'auto' },
  bridges: [],
  users: 'auto',
  resumeMinutes: 10,
  localHelperPort: 7741,
};

/** The part of a WorkspaceConfiguration that we read. */
export interface Configuration {
  get(key: string): unknown;
  inspect(key: string): { globalValue?: unknown; workspaceValue?: unknown } | undefined;
}

/** Reads the settings. A value of a wrong type counts as not set. */
export function readSettings(configuration: Configuration): Settings {
  const flag = (key: 'autoConnect' | 'setProxyEnvironment' | 'strictProxy'): boolean => {
    const value = configuration.get(key);
    return typeof value === 'boolean' ? value : DEFAULTS[key];
  };
  const minutes = configuration.get('resumeMinutes');
  const port = configuration.get('localHelperPort');
  return {
    autoConnect: flag('autoConnect'),
    setProxyEnvironment: flag('setProxyEnvironment'),
    strictProxy: flag('strictProxy'),
    sources: readSources(configuration.get('sources')),
    bridges: readBridges(configuration.get('bridges')),
    users: readUsers(configuration.get('users')),
    resumeMinutes:
      typeof minutes === 'number' && minutes >= 1 && minutes <= 180 ? Math.round(minutes) : DEFAULTS.resumeMinutes,
    localHelperPort: isPort(port) ? port : DEFAULTS.localHelperPort,
  };
}

function readBridges(value: unknown): string[] {
  return Array.isArray(value) ? [...new Set(value.filter(isBridge))].slice(0, MAX_BRIDGES) : DEFAULTS.bridges;
}

/** A wrong value never serves more users than the default. */
function readUsers(value: unknown): string | string[] {
  const word = USERS.find((name) => name === value);
  if (word) return word;
  if (!Array.isArray(value)) return DEFAULTS.users;
  const names = value.filter((name) => isUser(name) && !USERS.some((word) => word === name)) as string[];
  return names.length > 0 ? [...new Set(names)].slice(0, MAX_USERS) : 'mine';
}

function readSources(value: unknown): Sources {
  const set = typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  const modes = SOURCES.map((name) => [name, SOURCE_MODES.find((mode) => mode === set[name]) ?? 'auto']);
  return Object.fromEntries(modes) as Sources;
}

/**
 * Returns the two lists and the exits exactly as the settings have them: the gateway validates them.
 * The list of a workspace counts only in the settings of a trusted workspace.
 */
export function readResources(configuration: Configuration, trusted: boolean): ResourcesParams {
  const resources = configuration.inspect('resources')?.globalValue;
  const exits = configuration.inspect('exits')?.globalValue;
  const asked = trusted ? configuration.inspect('workspaceResources')?.workspaceValue : undefined;
  return {
    ...(resources === undefined ? {} : { resources }),
    ...(asked === undefined ? {} : { workspaceResources: asked }),
    ...(exits === undefined ? {} : { exits }),
  };
}

export function isPort(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) > 0 && (value as number) < 65536;
}
