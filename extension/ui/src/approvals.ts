import type { Approval, Decision, ResourcesResult } from '../../shared/src/protocol';
import type { Connection } from './connection';

/** Asks the user about one resource. Resolves with undefined if the user has put off the answer. */
export type Ask = (approval: Approval) => Promise<Decision | undefined>;

/** Asks for each approval once, with one dialog at a time. The answer to a dialog of an earlier session is ignored. */
export class Approvals {
  private waiting: Approval[] = [];
  private asked = new Set<string>();
  private connection: () => Connection | undefined = () => undefined;
  private asking = false;

  constructor(
    private readonly ask: Ask,
    private readonly failed: (error: unknown) => void,
  ) {}

  /** The approvals that wait now; undefined when the session has ended. */
  update(result: ResourcesResult | undefined, connection: () => Connection | undefined): void {
    this.waiting = result?.approvals ?? [];
    this.connection = connection;
    if (result === undefined) this.asked = new Set();
    if (!this.asking) void this.work();
  }

  /** Asks again for the approvals that the user has put off. */
  again(): void {
    if (this.asking) return;
    this.asked = new Set();
    void this.work();
  }

  private async work(): Promise<void> {
    this.asking = true;
    for (;;) {
      const approval = this.waiting.find(({ id }) => !this.asked.has(id));
      if (approval === undefined) break;
      const { asked } = this;
      asked.add(approval.id);
      const decision = await this.ask(approval);
      if (asked !== this.asked || decision === undefined) continue;
      try {
        await this.connection()?.answer({ answers: [{ id: approval.id, decision }] });
      } catch (error) {
        this.failed(error);
      }
    }
    this.asking = false;
  }
}
