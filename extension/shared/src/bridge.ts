// What the two extensions say to each other: private commands, which any other
// extension can execute too. So everything that arrives is checked, a link is
// known by an id that was made for it, and nothing here approves anything.

import { LOG_LEVELS, type LogLevel, MAX_BRIDGES, type Range, SOURCE_MODES, SOURCES, type Sources } from './protocol';

/** Versions of this conversation; the two extensions are updated separately. */
export const BRIDGE: Range = { min: 1, max: 1 };

/** Commands of the companion, executed by the UI extension. */
export const REMOTE = {
  hello: '_causeway.remote.hello',
  open: '_causeway.remote.open',
  frames: '_causeway.remote.frames',
  /** Returns when the link is over, with the reason: it is how the UI extension learns that at once. */
  watch: '_causeway.remote.watch',
  /** The link is over; the session waits for another. */
  close: '_causeway.remote.close',
  /** The session is over. */
  end: '_causeway.remote.end',
  /** Opens a terminal whose connections are carried; returns what is in the way, if anything. */
  terminal: '_causeway.remote.terminal',
} as const;

/** The command of the UI extension, executed by the companion. */
export const UI_FRAMES = '_causeway.ui.frames';

export interface Hello {
  protocol: Range;
  version: string;
}

/** Either the version to speak from here on, or why there is none. */
export type HelloReply = { protocol: number; version: string } | { refused: string };

export interface OpenLink {
  link: string;
  session: string;
  secret: string;
  /** The gateway has the session already: it is of no use if the capture has not. */
  resumed: boolean;
  /** Which window this is, as far as that can be told: what it left behind ends. */
  window: string;
  /** How long the session waits without a link. */
  resumeSeconds: number;
  logLevel: LogLevel;
  setProxyEnvironment: boolean;
  /** Absent from a UI extension that knows of none. */
  sources?: Sources;
  bridges?: string[];
}

/** Errors of a command lose all but their text on the way, so a failure is a reply. */
export type OpenReply =
  /** port: where direct links may come to on the remote, if they may. */
  | { helper: string; port?: number }
  /** gone: the capture does not have the session any more. */
  | { failed: string; gone?: boolean };

/** The version both speak, the highest; undefined if there is none. */
export function commonVersion(mine: Range, theirs: Range): number | undefined {
  const version = Math.min(mine.max, theirs.max);
  return version >= Math.max(mine.min, theirs.min) ? version : undefined;
}

/**
 * The bytes of a command argument: another host sends an ArrayBuffer, the same
 * host the very object. Undefined for anything else.
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
  if (typeof value.refused === 'string') return true;
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
      (Array.isArray(value.bridges) && value.bridges.length <= MAX_BRIDGES && value.bridges.every(isBridge)))
  );
}

/** Whether it may be the name of a network bridge. */
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
