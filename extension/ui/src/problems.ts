import type { Problem } from '../../shared/src/protocol';
import { count, plain } from '../../shared/src/text';

/** Messages shown at a time; more are summed up. */
const MOST = 5;

/** "causeway.resources[2].ports[0]: …", as a person reads it. */
export function problemText({ path, line, message }: Problem): string {
  const where = path === '' ? 'causeway.resources' : path.startsWith('causeway.') ? path : `causeway.${path}`;
  return `${plain(where)}${line ? ` (line ${line})` : ''}: ${plain(message)}`;
}

/** Remembers which mistakes were shown, so that each is shown once until it is gone. */
export class Problems {
  private shown = new Set<string>();

  /** Takes the mistakes that stand in the settings now: fresh are those not seen before, told what to show of them. */
  note(problems: Problem[]): { fresh: string[]; told: string[] } {
    const texts = [...new Set(problems.map(problemText))];
    const fresh = texts.filter((text) => !this.shown.has(text));
    this.shown = new Set(texts);
    if (fresh.length <= MOST) return { fresh, told: fresh };
    const rest = `… and ${count(fresh.length - MOST + 1, 'more mistake')} in the settings; the log has them all.`;
    return { fresh, told: [...fresh.slice(0, MOST - 1), rest] };
  }
}
