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
import { errorText, plain } from '../../shared/src/text';
import { sleep, within } from '../../shared/src/wait';
import { SessionOver } from './sessionOver';
import { Trouble } from './trouble';

export const COMPANION_ID = 'causeway-dev.causeway-remote';

/** The companion may be activating, or its host starting again. */
const PATIENCE_MS = 20_000;
const OPEN_MS = 30_000;
const END_MS = 5_000;

export type Execute = (command: string, ...args: unknown[]) => PromiseLike<unknown>;

const install = { title: 'Install Companion', command: 'causeway.installCompanion' };
const again = { title: 'Try Again', command: 'causeway.connect' };

/** The other half, which is known by the commands that it answers: the host that runs it cannot be asked. */
export class Companion {
  constructor(
    private readonly execute: Execute,
    private readonly version: string,
  ) {}

  /** Finds the companion and agrees with it on a version. */
  async hello(signal: AbortSignal): Promise<void> {
    const start = Date.now();
    const hello: Hello = { protocol: BRIDGE, version: this.version };
    for (let attempt = 0; ; attempt++) {
      try {
        const left = Math.max(1, PATIENCE_MS - (Date.now() - start));
        this.judge(await within(this.execute(REMOTE.hello, hello), left, 'the companion', signal));
        return;
      } catch (error) {
        if (error instanceof Trouble || signal.aborted) throw error;
        if (Date.now() - start >= PATIENCE_MS - 100) {
          throw new Trouble(
            'The remote environment has no Causeway companion, or it does not start: its extension ' +
              `${COMPANION_ID} is needed there (${errorText(error)}).`,
            [install, again],
          );
        }
      }
      await sleep(backoff(attempt, 250, 2000), signal);
    }
  }

  /** Has the companion open its end of the link. Resolves with the remote's port for direct links, if there is one; rejects with a SessionOver if the session to resume is not there. */
  async open(link: OpenLink, signal: AbortSignal): Promise<number | undefined> {
    const reply = await within(this.execute(REMOTE.open, link), OPEN_MS, 'starting the capture', signal);
    if (!isOpenReply(reply)) throw new Error('the companion sent a reply that is none');
    if (!('failed' in reply)) return reply.port;
    if (reply.gone) throw new SessionOver("the remote's helper was started anew");
    throw new Error(`the capture did not start: ${plain(reply.failed)}`);
  }

  frames(link: string, frames: Uint8Array[]): PromiseLike<unknown> {
    return this.execute(REMOTE.frames, link, ...frames);
  }

  /** Resolves with why the link is over; VS Code makes it so at once when the companion's host is gone. */
  async watch(link: string): Promise<string> {
    try {
      return plain(String(await this.execute(REMOTE.watch, link)));
    } catch (error) {
      return `the remote extension host is gone (${errorText(error)})`;
    }
  }

  /** Tells the companion that the link is over. It finds out by itself when it cannot be told. */
  close(link: string): void {
    this.execute(REMOTE.close, link).then(undefined, () => {});
  }

  /** Has the companion end the session; resolves when that is done, or cannot be. */
  async end(session: string): Promise<void> {
    await within(this.execute(REMOTE.end, session), END_MS, 'the end of the session').then(undefined, () => {});
  }

  private judge(reply: unknown): void {
    if (!isHelloReply(reply)) throw new Error('the companion sent a reply that is none');
    const refusal = refused(reply);
    if (refusal !== undefined) throw new Trouble(refusal, [{ ...install, title: 'Update Companion' }, again]);
  }
}

function refused(reply: HelloReply): string | undefined {
  if ('refused' in reply) return plain(reply.refused);
  if (commonVersion(BRIDGE, { min: reply.protocol, max: reply.protocol }) !== undefined) return undefined;
  return `The companion ${plain(reply.version, 40)} and this extension have no version in common: update both.`;
}
