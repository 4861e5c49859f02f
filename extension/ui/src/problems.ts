import { l10n } from 'vscode';
import type { Problem } from '../../shared/src/protocol';
import { plain } from '../../shared/src/text';

/** Most messages at a time. The last one counts the rest. */
const MOST = 5;

/** Returns a mistake as one line: "causeway.resources[2].ports[0]: …". */
export function problemText({ path, line, message }: Problem): string {
  const where = path === '' ? 'causeway.resources' : path.startsWith('causeway.') ? path : `causeway.${path}`;
  return `${plain(where)}${line ? ` (${l10n.t('line {0}', line)})` : ''}: ${plain(message)}`;
}

/** Remembers which mistakes the user has seen: each is shown once until it is gone. */
export class Problems {
  private shown = new Set<string>();

  /** Takes all present mistakes. Returns the fresh ones, which are new, and the messages to show for them. */
  note(problems: Problem[]): { fresh: string[]; told: string[] } {
    const texts = [...new Set(problems.map(problemText))];
    const fresh = texts.filter((text) => !this.shown.has(text));
    this.shown = new Set(texts);
    if (fresh.length <= MOST) return { fresh, told: fresh };
    const rest = l10n.t('The settings have {0} more mistakes. The log lists all of them.', fresh.length - MOST + 1);
    return { fresh, told: [...fresh.slice(0, MOST - 1), rest] };
  }
}
