import { l10n } from 'vscode';
import {
  BRIDGE,
  commonVersion,
  type Hello,
  type HelloReply,
  isHelloReply,
  isOpenReply,
  type OpenLink,
  REMOTE,
} from '../../shared/src/bridge';
import { backoff } from '../../shared/src/session';
import { errorText, plain, sentence } from '../../shared/src/text';
import { sleep, within } from '../../shared/src/wait';
import { SessionOver } from './sessionOver';
import { Trouble } from './trouble';

export const COMPANION_ID = 'causeway-dev.causeway-remote';

/** VS Code rejects a command at once if no extension on the remote has it. After this long it is not coming. */
const MISSING_MS = 3_000;
/** The remote extension host may still be starting. */
const PATIENCE_MS = 20_000;
const OPEN_MS = 30_000;
const END_MS = 5_000;

export type Execute = (command: string, ...args: unknown[]) => PromiseLike<unknown>;

export interface CompanionOptions {
  execute: Execute;
  /** The version of this extension. */
  version: string;
  /** Installs the companion on the remote, or updates it there. Rejects with a Trouble. */
  install: (what: 'install' | 'update') => Promise<void>;
  /** The user has to restart the extensions: connect afterwards. */
  connectAfterRestart: () => void;
  log: (text: string) => void;
}

/** The extension on the remote. It is known by the commands that it answers: its extension host cannot be asked. */
export class Companion {
  private updated = false;

  constructor(private readonly options: CompanionOptions) {}

  /** Finds the companion and agrees with it on a version. With mayInstall it installs or updates the companion. */
  async hello(signal: AbortSignal, mayInstall: boolean): Promise<void> {
    let reply = await this.greet(mayInstall ? MISSING_MS : PATIENCE_MS, signal);
    if (typeof reply === 'string' && mayInstall) {
      await this.options.install('install');
      signal.throwIfAborted();
      reply = await this.greet(PATIENCE_MS, signal);
    }
    if (typeof reply === 'string') {
      throw new Trouble(
        l10n.t(
          'The Causeway companion does not start on the remote: {0} Look at its log there, or install it again.',
          sentence(reply),
        ),
        [
          { title: l10n.t('Install Companion'), command: 'causeway.installCompanion' },
          { title: l10n.t('Try Again'), command: 'causeway.connect' },
        ],
      );
    }
    await this.judge(reply, mayInstall);
  }

  /**
   * Has the companion open its end of the link. Resolves with the remote's port for direct links, if it has one.
   * Rejects with a SessionOver if the session to resume is gone.
   */
  async open(link: OpenLink, signal: AbortSignal): Promise<number | undefined> {
    const reply = await within(this.options.execute(REMOTE.open, link), OPEN_MS, 'starting the capture', signal);
    if (!isOpenReply(reply)) throw new Error('the companion sent a malformed reply');
    if (!('failed' in reply)) return reply.port;
    if (reply.gone) throw new SessionOver('the helper on the remote has restarted');
    throw new Error(`the capture did not start: ${plain(reply.failed)}`);
  }

  frames(link: string, frames: Uint8Array[]): PromiseLike<unknown> {
    return this.options.execute(REMOTE.frames, link, ...frames);
  }

  /** Resolves with the reason when the link has ended. VS Code ends it at once when the remote extension host is gone. */
  async watch(link: string): Promise<string> {
    try {
      return plain(String(await this.options.execute(REMOTE.watch, link)));
    } catch (error) {
      return `the remote extension host is gone (${errorText(error)})`;
    }
  }

  /** Tells the companion that the link has ended. If it cannot be told, it finds out by itself. */
  close(link: string): void {
    this.options.execute(REMOTE.close, link).then(undefined, () => {});
  }

  /** Has the companion end the session. Resolves when that is done, or cannot be done. */
  async end(session: string): Promise<void> {
    await within(this.options.execute(REMOTE.end, session), END_MS, 'the end of the session').then(undefined, () => {});
  }

  /**
   * Greets the companion until it replies. Resolves with the last error after missingMs of rejections, or after
   * PATIENCE_MS without any answer.
   */
  private async greet(missingMs: number, signal: AbortSignal): Promise<HelloReply | string> {
    const start = Date.now();
    const hello: Hello = { protocol: BRIDGE, version: this.options.version };
    for (let attempt = 0; ; attempt++) {
      const spent = () => Date.now() - start;
      let last: string;
      try {
        const left = Math.max(1, PATIENCE_MS - spent());
        const reply = await within(this.options.execute(REMOTE.hello, hello), left, 'the companion', signal);
        if (isHelloReply(reply)) return reply;
        last = 'it sent a malformed reply';
      } catch (error) {
        if (signal.aborted) throw error;
        last = errorText(error);
      }
      if (spent() >= missingMs) return last;
      await sleep(Math.min(backoff(attempt, 250, 2000), Math.max(1, missingMs - spent())), signal);
    }
  }

  private async judge(reply: HelloReply, mayInstall: boolean): Promise<void> {
    const { version, install, connectAfterRestart, log } = this.options;
    const refusal = refused(reply);
    const older = reply.version === undefined || isOlder(reply.version, version);
    if (refusal !== undefined) {
      if (!mayInstall || !older) throw new Trouble(refusal);
      await install('update');
      connectAfterRestart();
      throw new Trouble(
        l10n.t(
          'Causeway has updated its companion on the remote. Restart the extensions to use it: Causeway then connects by itself.',
        ),
        [{ title: l10n.t('Restart Extensions'), command: 'workbench.action.restartExtensionHost' }],
      );
    }
    if (!mayInstall || !older || this.updated) return;
    // It works: the new version serves from the next start of the remote extension host on.
    this.updated = true;
    install('update').catch((error: unknown) => log(`update the companion: ${errorText(error)}`));
  }
}

function refused(reply: HelloReply): string | undefined {
  if ('refused' in reply) return plain(reply.refused);
  if (commonVersion(BRIDGE, { min: reply.protocol, max: reply.protocol }) !== undefined) return undefined;
  return l10n.t(
    'This extension and the companion {0} on the remote cannot work together. Update both.',
    plain(reply.version, 40),
  );
}

/** Whether version a is lower than version b. */
function isOlder(a: string, b: string): boolean {
  const numbers = (text: string) => text.split(/[.-]/, 3).map((part) => Number.parseInt(part, 10) || 0);
  const [mine, theirs] = [numbers(a), numbers(b)];
  const at = mine.findIndex((n, i) => n !== theirs[i]);
  return at >= 0 && (mine[at] ?? 0) < (theirs[at] ?? 0);
}
