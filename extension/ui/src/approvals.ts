import type { Approval, ApprovalAnswers, ResourcesResult } from '../../shared/src/protocol';
import type { Connection } from './connection';

type Answers = ApprovalAnswers['answers'];

/** Asks the user about some resources. The answers leave out those that the user has put off. */
export type Ask = (approvals: Approval[]) => Promise<Answers>;

/** Most resources that one dialog names: the user must see all of them. */
export const MOST = 12;

/** Whether a resource needs a dialog of its own: it is risky, covers more than one host, or has changed. */
export function isAlone({ warnings, host, change }: Approval): boolean {
  return change === 'changed' || (warnings ?? []).length > 0 || /[*/]/.test(host);
}

/**
 * Asks for each approval once, with one dialog at a time: for those that may go together in one, then for each
 * of the others. The answer to a dialog of an earlier session is ignored.
 */
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
    for (let next = this.next(); next.length > 0; next = this.next()) {
      const { asked } = this;
      for (const { id } of next) asked.add(id);
      try {
        const answers = await this.ask(next);
        if (asked === this.asked && answers.length > 0) await this.connection()?.answer({ answers });
      } catch (error) {
        this.failed(error);
      }
    }
    this.asking = false;
  }

  /** The approvals to ask for now, in one dialog. */
  private next(): Approval[] {
    const open = this.waiting.filter(({ id }) => !this.asked.has(id));
    const together = open.filter((approval) => !isAlone(approval)).slice(0, MOST);
    return together.length > 0 ? together : open.slice(0, 1);
  }
}
