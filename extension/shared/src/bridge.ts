// The two extensions talk by private commands. Any other extension can execute
// them too. So each half checks everything that arrives, a link has a random id,
// and no command approves anything.

import {
  LOG_LEVELS,
  type LogLevel,
  MAX_BRIDGES,
  MAX_USERS,
  type Range,
  SOURCE_MODES,
  SOURCES,
  type Sources,
} from './protocol';

/** Versions of these commands. Users update the two extensions separately. */
export const BRIDGE: Range = { min: 1, max: 1 };

/** Commands of the companion, executed by the UI extension. */
export const REMOTE = {
  hello: '_causeway.remote.hello',
  open: '_causeway.remote.open',
  frames: '_causeway.remote.frames',
  /** Returns the reason when the link has ended, so that the UI extension learns of it at once. */
  watch: '_causeway.remote.watch',
  /** Ends the link; the session waits for another link. */
  close: '_causeway.remote.close',
  /** Ends the session. */
  end: '_causeway.remote.end',
  /** Opens a terminal whose connections Causeway carries. Returns why it cannot, or undefined. */
  terminal: '_causeway.remote.terminal',
  /** Returns those of the given hosts that the remote cannot resolve. */
  unresolved: '_causeway.remote.unresolved',
} as const;

/** The command of the UI extension, executed by the companion. */
export const UI_FRAMES = '_causeway.ui.frames';

export interface Hello {
  protocol: Range;
  version: string;
}

/** The version that both halves speak from now on, or why they have none in common. */
export type HelloReply = { protocol: number; version: string } | { refused: string; version?: string };

export interface OpenLink {
  link: string;
  session: string;
  secret: string;
  /** The gateway already has the session. Opening fails if the capture does not have it. */
  resumed: boolean;
  /** Identifies the window as well as possible. Sessions that it left behind end. */
  window: string;
  /** How long the session waits without a link, in seconds. */
  resumeSeconds: number;
  logLevel: LogLevel;
  setProxyEnvironment: boolean;
  /** Absent if the UI extension does not know them. */
  sources?: Sources;
  bridges?: string[];
  users?: string[];
}

/** VS Code passes on only the text of a command's error, so a failure is a reply. */
export type OpenReply =
  /** port: the remote's port for direct links, if it has one. */
  | { helper: string; port?: number }
  /** gone: the capture no longer has the session. */
  | { failed: string; gone?: boolean };

/** Returns the highest version that both speak; undefined if there is none. */
export function commonVersion(mine: Range, theirs: Range): number | undefined {
  const version = Math.min(mine.max, theirs.max);
  return version >= Math.max(mine.min, theirs.min) ? version : undefined;
}

/**
 * Returns the bytes of a command argument. Another extension host sends an
 * ArrayBuffer, the same host passes the object itself. Undefined for anything else.
 */
export function toBytes(value: unknown): Uint8Array | undefined {
  if (value instanceof Uint8Array) return value;
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  return undefined;
}

export function isHello(value: unknown): value is Hello {
  return isRecord(value) && isRange(value.protocol) && typeof value.version === 'string';
}

export function isHelloReply(value: unknown): value is HelloReply {
  if (!isRecord(value)) return false;
  if (typeof value.refused === 'string') return value.version === undefined || typeof value.version === 'string';
  return Number.isInteger(value.protocol) && typeof value.version === 'string';
}

export function isOpenLink(value: unknown): value is OpenLink {
  return (
    isRecord(value) &&
    [value.link, value.session, value.secret].every((id) => typeof id === 'string' && /^[0-9a-f]{8,128}$/.test(id)) &&
    (LOG_LEVELS as readonly unknown[]).includes(value.logLevel) &&
    typeof value.setProxyEnvironment === 'boolean' &&
    typeof value.resumed === 'boolean' &&
    typeof value.window === 'string' &&
    value.window.length <= 4096 &&
    Number.isInteger(value.resumeSeconds) &&
    (value.sources === undefined || isSources(value.sources)) &&
    (value.bridges === undefined ||
      (Array.isArray(value.bridges) && value.bridges.length <= MAX_BRIDGES && value.bridges.every(isBridge))) &&
    (value.users === undefined ||
      (Array.isArray(value.users) && value.users.length <= MAX_USERS && value.users.every(isUser)))
  );
}

/** Whether value can be the name of a user. */
export function isUser(value: unknown): value is string {
  return typeof value === 'string' && /^[\w.@\\$+][\w.@\\$+-]{0,63}$/.test(value);
}

/** Whether value can be the name of a network bridge. */
export function isBridge(value: unknown): value is string {
  return typeof value === 'string' && /^[\w.-]{1,15}$/.test(value);
}

export function isSources(value: unknown): value is Sources {
  return (
    isRecord(value) &&
    Object.entries(value).every(
      ([name, mode]) =>
        (SOURCES as readonly unknown[]).includes(name) && (SOURCE_MODES as readonly unknown[]).includes(mode),
    )
  );
}

export function isOpenReply(value: unknown): value is OpenReply {
  if (!isRecord(value)) return false;
  if (value.port !== undefined && !Number.isInteger(value.port)) return false;
  return typeof value.helper === 'string' || typeof value.failed === 'string';
}

function isRange(value: unknown): value is Range {
  return isRecord(value) && Number.isInteger(value.min) && Number.isInteger(value.max);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
