import { l10n } from 'vscode';
import type { OpenLink } from '../../shared/src/bridge';
import {
  Code,
  type GatewayOpenResult,
  type GatewayStatus,
  type LogLevel,
  type LogMessage,
  type ResourcesParams,
  type ResourcesResult,
} from '../../shared/src/protocol';
import type { Step } from '../../shared/src/session';
import { plain, sentence } from '../../shared/src/text';
import type { Companion } from './companion';
import type { Connection } from './connection';
import type { Identity } from './identity';
import type { Platform } from './platform';
import { SessionOver } from './sessionOver';
import type { Settings } from './settings';
import { Trouble } from './trouble';

/** How long the steps of a connection may take, in ms. */
export const TIMES = {
  handshake: 15_000,
  link: 30_000,
  close: 5_000,
  /** The user may have to find the helper's page or terminal first. */
  answer: 10 * 60_000,
};

export interface ConnectionEvents {
  /** The connection that is being opened. Called first, because frames arrive before open resolves. */
  opened(connection: Connection): void;
  step(step: Step): void;
  status(status: GatewayStatus): void;
  /** Mistakes in the settings, and resources that wait for approval. */
  resources(result: ResourcesResult): void;
  /** The session has ended. Called once, and never after lost or close. */
  ended(reason: string): void;
  /** The session goes on without this connection. Called once, and never after ended or close. */
  lost(reason: string): void;
}

export interface ConnectionOptions {
  platform: Platform;
  companion: Companion;
  identity: Identity;
  settings: Settings;
  resources: ResourcesParams;
  /** The session to resume; open fails if it is gone. Undefined resumes a session that waits, or opens one. */
  resume?: string | undefined;
  version: string;
  events: ConnectionEvents;
  /** How much the gateway's log shows in this window: other windows of the same helper have levels of their own. */
  logLevel: LogLevel;
  log: (message: LogMessage) => void;
  signal: AbortSignal;
}

/** Returns what the companion needs to open a link of a session. */
export function linkRequest(
  { identity, settings, logLevel }: ConnectionOptions,
  link: string,
  { session, secret, resumed = false }: GatewayOpenResult,
): OpenLink {
  const { setProxyEnvironment, resumeMinutes, sources, bridges, users } = settings;
  const window = `${identity.authority}\n${identity.workspace}`.slice(0, 4096);
  const resumeSeconds = resumeMinutes * 60;
  const ways = { setProxyEnvironment, sources, bridges, users: [users].flat() };
  return { link, session, secret, resumed, resumeSeconds, window, logLevel, ...ways };
}

/** Turns the errors that the user can act on into Troubles. */
export async function understandable<T>(promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    const { code, message } = error as { code?: number; message: string };
    if (code === Code.unauthorized) {
      throw new Trouble(l10n.t('The local helper refused this page: {0}. Pair again.', plain(message)), [
        { title: l10n.t('Pair Again'), command: 'causeway.pairLocalHelper' },
      ]);
    }
    if (code === Code.noSession) throw new SessionOver(plain(message));
    if (code === Code.version) throw new Trouble(sentence(message));
    throw error;
  }
}

export function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
