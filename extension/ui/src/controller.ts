import { l10n } from 'vscode';
import type { ResourcesParams, ResourcesResult } from '../../shared/src/protocol';
import { backoff, INITIAL, isActive, reduce, type SessionEvent, type SessionState } from '../../shared/src/session';
import { errorText, sentence } from '../../shared/src/text';
import type { Connection } from './connection';
import type { ConnectionEvents } from './connectionOptions';
import { SessionOver } from './sessionOver';
import { type Remedy, Trouble } from './trouble';

/** The actions of a Controller. None of them may throw. */
export interface ControllerOptions {
  /** Opens a connection. With resume, it resumes that session or fails. */
  open(events: ConnectionEvents, resume: string | undefined, signal: AbortSignal): Promise<Connection>;
  /** Ends a waiting session, at each end that can be reached. */
  end(session: string): Promise<void>;
  /** Whether to connect again after a session has ended. */
  persistent(): boolean;
  /** How long a session waits to be resumed, in ms. */
  resumeMs(): number;
  /** Keeps the session that this window resumes after a reload; undefined if there is none. */
  remember(session: string | undefined): void;
  changed(state: SessionState): void;
  /** The gateway's answer to the lists; undefined when the session has ended. */
  resources(result: ResourcesResult | undefined, connection: () => Connection | undefined): void;
  /** Tells the user of an error. */
  trouble(error: unknown): void;
  log(text: string): void;
}

interface Run {
  abort: AbortController;
  resume: string | undefined;
  connection?: Connection;
  opening?: Promise<void>;
}

/** Shortest and longest delay between attempts to resume a lost session. */
const FIRST_MS = 300;
const LAST_MS = 15_000;

/** Drives the state of the session. There is at most one run at a time; events of earlier runs are ignored. */
export class Controller {
  private current: SessionState = INITIAL;
  private run: Run | undefined;
  /** The session that waits to be resumed. */
  private waiting: { session: string; until: number } | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private closing: Promise<void> = Promise.resolve();

  constructor(private readonly options: ControllerOptions) {}

  get state(): SessionState {
    return this.current;
  }

  /** The usable connection of the session; undefined if there is none. */
  get connection(): Connection | undefined {
    return this.current.kind === 'connected' ? this.run?.connection : undefined;
  }

  /** Resolves when the attempt has ended; the state tells how. */
  async connect(): Promise<void> {
    if (this.run !== undefined || (isActive(this.current) && this.current.kind !== 'reconnecting')) {
      return this.run?.opening;
    }
    this.dispatch({ type: 'connect' });
    return this.attempt();
  }

  /** Resumes a session from before a reload of this window. If it cannot, it tells the user nothing. */
  async resume(session: string): Promise<void> {
    if (isActive(this.current)) return;
    this.waiting = { session, until: Date.now() };
    this.dispatch({ type: 'connect' });
    return this.attempt();
  }

  /** Resolves when the session and its helper are gone. */
  async disconnect(): Promise<void> {
    clearTimeout(this.timer);
    const { waiting } = this;
    this.waiting = undefined;
    this.options.remember(undefined);
    this.dispatch({ type: 'disconnect' });
    const open = this.run !== undefined;
    await this.drop('close');
    if (waiting !== undefined && !open) await this.options.end(waiting.session);
    this.dispatch({ type: 'closed' });
  }

  /** Leaves the session, which waits for this window to come back. */
  async leave(): Promise<void> {
    clearTimeout(this.timer);
    await this.drop('leave');
  }

  /** Replaces both lists of the session, if there is one. */
  async setResources(resources: ResourcesParams): Promise<void> {
    const { run } = this;
    const result = await this.connection?.setResources(resources);
    if (result !== undefined && this.run === run) this.resources(result);
  }

  /** Takes frames if the link is this session's. */
  receive(link: unknown, frames: unknown[]): void {
    this.run?.connection?.receive(link, frames);
  }

  private attempt(): Promise<void> {
    clearTimeout(this.timer);
    const run: Run = { abort: new AbortController(), resume: this.waiting?.session };
    this.run = run;
    run.opening = this.open(run);
    return run.opening;
  }

  private async open(run: Run): Promise<void> {
    const mine = () => this.run === run;
    const events: ConnectionEvents = {
      opened: (connection) => {
        run.connection = connection;
      },
      step: (step) => mine() && this.dispatch({ type: 'step', step }),
      status: (status) => mine() && this.dispatch({ type: 'status', status }),
      resources: (result) => mine() && this.resources(result),
      ended: (reason) => mine() && this.ended(reason),
      lost: (reason) => mine() && this.lost(reason),
    };
    try {
      await this.closing;
      const connection = await this.options.open(events, run.resume, run.abort.signal);
      if (!mine()) return;
      this.waiting = undefined;
      this.options.remember(connection.id);
    } catch (error) {
      if (mine()) this.failed(error);
    }
  }

  private failed(error: unknown): void {
    const { current, waiting } = this;
    if (current.kind !== 'connecting' && current.kind !== 'reconnecting') return;
    // open has closed or left the connection.
    void this.drop('leave');
    this.options.log(`connect: ${errorText(error)}`);
    const attempt = current.attempt;
    const retry = (retryMs: number) => {
      this.dispatch({ type: 'failed', message: errorText(error), retryMs });
      this.retry(retryMs);
    };
    if (error instanceof SessionOver && waiting !== undefined) {
      this.waiting = undefined;
      this.options.remember(undefined);
      // A session from before a reload may have ended meanwhile: the user need not know.
      if (current.kind === 'connecting') this.quiet();
      else if (this.options.persistent()) retry(FIRST_MS);
      else {
        const message = l10n.t(
          'The connection has ended. {0} Causeway could not resume it. {1} Connect again.',
          sentence(current.reason),
          sentence(errorText(error)),
        );
        this.over(message, error.cause instanceof Trouble ? error.cause.remedies : []);
      }
    } else if (waiting !== undefined && current.kind === 'connecting') {
      this.quiet();
    } else if (waiting !== undefined && Date.now() < waiting.until) {
      retry(Math.min(backoff(attempt, FIRST_MS, LAST_MS), Math.max(FIRST_MS, waiting.until - Date.now())));
    } else if (attempt > 0 && this.options.persistent() && !(error instanceof Trouble)) {
      this.waiting = undefined;
      retry(backoff(attempt, 1000, 30_000));
    } else {
      this.dispatch({ type: 'failed', message: errorText(error) });
      this.options.trouble(error instanceof Trouble ? error : notConnected(error));
    }
  }

  /** The session has ended. An attempt that is still opening one rejects by itself. */
  private ended(reason: string): void {
    if (this.current.kind !== 'connected') return;
    void this.drop('close');
    this.options.remember(undefined);
    this.options.log(`the session ended: ${reason}`);
    if (!this.options.persistent()) {
      this.over(l10n.t('The connection has ended. {0} Connect again.', sentence(reason)));
      return;
    }
    const retryMs = backoff(0, 1000, 30_000);
    this.dispatch({ type: 'lost', reason, retryMs });
    this.retry(retryMs);
  }

  /** The session waits to be resumed. */
  private lost(reason: string): void {
    const session = this.run?.connection?.id;
    if (this.current.kind !== 'connected' || session === undefined) return;
    void this.drop('leave');
    const since = Date.now();
    const ms = this.options.resumeMs();
    const until = since + ms;
    this.waiting = { session, until };
    this.options.log(`reconnecting: ${reason}; open connections wait for ${Math.round(ms / 60_000)} min at most`);
    this.dispatch({ type: 'lost', reason, retryMs: FIRST_MS, waits: { since, until } });
    this.retry(FIRST_MS);
  }

  private over(message: string, remedies: Remedy[] = []): void {
    this.dispatch({ type: 'lost', reason: message });
    this.dispatch({ type: 'failed', message });
    const again: Remedy[] = [
      { title: l10n.t('Connect'), command: 'causeway.connect' },
      { title: l10n.t('Show Log'), command: 'causeway.showLog' },
    ];
    this.options.trouble(new Trouble(message, remedies.length > 0 ? remedies : again));
  }

  private quiet(): void {
    this.waiting = undefined;
    this.dispatch({ type: 'disconnect' });
    this.dispatch({ type: 'closed' });
  }

  private retry(delayMs: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.connect(), delayMs);
  }

  private resources(result: ResourcesResult): void {
    const run = this.run;
    this.dispatch({ type: 'approvals', count: result.approvals.length });
    this.options.resources(result, () => (this.run === run ? run?.connection : undefined));
  }

  /** Ends the run. The next one begins when its helper is gone. */
  private drop(how: 'close' | 'leave'): Promise<void> {
    const { run } = this;
    this.run = undefined;
    if (run === undefined) return this.closing;
    this.options.resources(undefined, () => undefined);
    run.abort.abort(new Error('cancelled'));
    const { connection } = run;
    const done = how === 'close' ? connection?.close() : connection?.leave();
    this.closing = Promise.allSettled([run.opening, done]).then(() => {});
    return this.closing;
  }

  private dispatch(event: SessionEvent): void {
    const next = reduce(this.current, event);
    if (next === this.current) return;
    this.current = next;
    this.options.changed(next);
  }
}

/** Returns the message about an attempt to connect that has failed, with what the user can do. */
function notConnected(error: unknown): Trouble {
  const remedies = [
    { title: l10n.t('Try Again'), command: 'causeway.connect' },
    { title: l10n.t('Show Log'), command: 'causeway.showLog' },
  ];
  const message = l10n.t('Causeway could not connect. {0} The log has more.', sentence(errorText(error)));
  return new Trouble(message, remedies, { cause: error });
}
