import type { ResourcesParams, ResourcesResult } from '../../shared/src/protocol';
import { backoff, INITIAL, isActive, reduce, type SessionEvent, type SessionState } from '../../shared/src/session';
import { errorText } from '../../shared/src/text';
import type { Connection, ConnectionEvents } from './connection';
import { Trouble } from './trouble';

/** What a Controller needs done; none of it may throw. */
export interface ControllerOptions {
  open(events: ConnectionEvents, signal: AbortSignal): Promise<Connection>;
  /** Whether a connection that is lost is to be sought again. */
  persistent(): boolean;
  changed(state: SessionState): void;
  /** What the gateway says of the lists; undefined when the session is over. */
  resources(result: ResourcesResult | undefined, connection: () => Connection | undefined): void;
  /** Something to tell the user. */
  trouble(error: unknown): void;
  log(text: string): void;
}

interface Run {
  abort: AbortController;
  connection?: Connection;
  opening?: Promise<void>;
}

/** Drives the state of the session: at most one run at a time, and nothing an old run says counts. */
export class Controller {
  private current: SessionState = INITIAL;
  private run: Run | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private closing: Promise<void> = Promise.resolve();

  constructor(private readonly options: ControllerOptions) {}

  get state(): SessionState {
    return this.current;
  }

  /** The session's connection, while there is one that is usable. */
  get connection(): Connection | undefined {
    return this.current.kind === 'connected' ? this.run?.connection : undefined;
  }

  /** Resolves when the attempt has ended, well or not; the state says how. */
  async connect(): Promise<void> {
    if (isActive(this.current) && this.current.kind !== 'reconnecting') return this.run?.opening;
    clearTimeout(this.timer);
    const run: Run = { abort: new AbortController() };
    this.run = run;
    this.dispatch({ type: 'connect' });
    run.opening = this.open(run);
    return run.opening;
  }

  /** Resolves when the session and its helper are gone. */
  async disconnect(): Promise<void> {
    clearTimeout(this.timer);
    this.dispatch({ type: 'disconnect' });
    await this.drop();
    this.dispatch({ type: 'closed' });
  }

  /** Replaces both lists of the session, if there is one. */
  async setResources(resources: ResourcesParams): Promise<void> {
    const { run } = this;
    const result = await this.connection?.setResources(resources);
    if (result !== undefined && this.run === run) this.resources(result);
  }

  /** Frames for the link, if it is this session's. */
  receive(link: unknown, frames: unknown[]): void {
    this.run?.connection?.receive(link, frames);
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
    };
    try {
      await this.closing;
      await this.options.open(events, run.abort.signal);
    } catch (error) {
      if (!mine()) return;
      const { current } = this;
      if (current.kind !== 'connecting') return;
      void this.drop();
      const again = current.attempt > 0 && this.options.persistent() && !(error instanceof Trouble);
      const retryMs = again ? backoff(current.attempt, 1000, 30_000) : undefined;
      this.options.log(`connect: ${errorText(error)}`);
      this.dispatch({ type: 'failed', message: errorText(error), ...(again ? { retryMs: retryMs as number } : {}) });
      if (again) this.retry(retryMs as number);
      else this.options.trouble(error);
    }
  }

  /** Only an established session is lost; one that is being opened has failed, which open learns by itself. */
  private ended(reason: string): void {
    if (this.current.kind !== 'connected') return;
    void this.drop();
    const retryMs = this.options.persistent() ? backoff(0, 1000, 30_000) : undefined;
    this.options.log(`the session ended: ${reason}`);
    this.dispatch({ type: 'lost', reason, ...(retryMs === undefined ? {} : { retryMs }) });
    if (retryMs !== undefined) this.retry(retryMs);
    else this.options.trouble(new Error(`The connection has ended: ${reason}.`));
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

  /** Lets go of the run; the next one begins when its helper is gone. */
  private drop(): Promise<void> {
    const { run } = this;
    this.run = undefined;
    if (run === undefined) return this.closing;
    this.options.resources(undefined, () => undefined);
    run.abort.abort(new Error('cancelled'));
    this.closing = Promise.allSettled([run.opening, run.connection?.close()]).then(() => {});
    return this.closing;
  }

  private dispatch(event: SessionEvent): void {
    const next = reduce(this.current, event);
    if (next === this.current) return;
    this.current = next;
    this.options.changed(next);
  }
}
