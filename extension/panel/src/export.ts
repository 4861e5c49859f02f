import type { Flow } from '../../shared/src/flows';
import type { Store } from './store';

/**
 * Returns what the store has as JSON, in the manner of an HTTP archive (HAR): a log with its creator, and entries
 * with a start and timings in ms; -1 stands for a step that a connection has not reached.
 */
export function toArchive(store: Store): string {
  const log = {
    version: '1.2',
    creator: { name: 'Causeway' },
    entries: [...store.flows.values()].map(entry),
    questions: store.questions,
    refusals: [...store.refusals.values()],
  };
  return JSON.stringify({ log }, null, 2);
}

function entry(flow: Flow) {
  const { began, ended, lookedUp = 0, judged = lookedUp, dialled, firstByte } = flow;
  return {
    startedDateTime: began,
    time: ended ?? -1,
    timings: {
      dns: lookedUp,
      connect: dialled === undefined ? -1 : dialled - judged,
      wait: firstByte === undefined || dialled === undefined ? -1 : firstByte - dialled,
      receive: ended === undefined || firstByte === undefined ? -1 : ended - firstByte,
    },
    ...flow,
  };
}
