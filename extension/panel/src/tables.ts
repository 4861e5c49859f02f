import type { Flow, Origin, Question, Refused } from '../../shared/src/flows';
import type { ColumnId, PanelTexts } from '../../shared/src/panel';
import { bytes, plain } from '../../shared/src/text';
import type { Store } from './store';

export type TabId = 'connections' | 'dns' | 'refused';

/** A row of a table: the text of each cell, and what it is sorted by. */
export interface Row {
  id: number;
  cells: Partial<Record<ColumnId, string>>;
  keys: Partial<Record<ColumnId, number>>;
  /** Set if the row is grey: it is over. */
  over?: boolean;
  /** Set if the row tells of a failure. */
  bad?: boolean;
  /** What the filter looks at: all cells but the age, in lower case. */
  text: string;
  of: Flow | Question | Refused;
}

/** The columns of each tab, with their widths in the grid. */
export const COLUMNS: Record<TabId, [ColumnId, string][]> = {
  connections: [
    ['program', '1.2fr'],
    ['user', '0.6fr'],
    ['resource', '1fr'],
    ['target', '1.8fr'],
    ['address', '1.2fr'],
    ['way', '0.6fr'],
    ['down', '5.5em'],
    ['up', '5.5em'],
    ['age', '4.5em'],
    ['state', '1.2fr'],
  ],
  dns: [
    ['time', '5.5em'],
    ['name', '2fr'],
    ['type', '5em'],
    ['answer', '2fr'],
    ['from', '1fr'],
    ['took', '5em'],
    ['program', '1.2fr'],
  ],
  refused: [
    ['time', '5.5em'],
    ['target', '1.6fr'],
    ['count', '4em'],
    ['program', '1.2fr'],
    ['resource', '1fr'],
    ['reason', '3fr'],
  ],
};

/** Columns that are sorted by a number. */
export const NUMERIC = new Set<ColumnId>(['down', 'up', 'age', 'took', 'count', 'time']);

/** The rows so far. What a row shows never changes, except a count or state, which is a new object of the store. */
const made = new WeakMap<object, Row>();

/** Returns the row of an object, which is made once: a panel with thousands of rows is drawn four times per second. */
function once<T extends object>(of: T, make: (of: T) => Omit<Row, 'text'>): Row {
  const known = made.get(of);
  if (known !== undefined) return known;
  const parts = make(of);
  const row = { ...parts, text: Object.values(parts.cells).join('\n').toLowerCase() };
  made.set(of, row);
  return row;
}

/** Returns the rows of a tab, the newest first. */
export function rowsOf(store: Store, tab: TabId, texts: PanelTexts): Row[] {
  switch (tab) {
    case 'connections':
      return [...store.flows.values()].map((flow) => flowRow(flow, store.now, texts)).reverse();
    case 'dns':
      return store.questions.map((question) => once(question, questionRow)).reverse();
    case 'refused':
      return [...store.refusals.values()].map((refused) => once(refused, refusedRow)).reverse();
  }
}

const { compare } = new Intl.Collator(undefined, { numeric: true });

/** Returns the rows that contain every word of filter, sorted by a column. Rows that are equal keep their order. */
export function arrange(rows: Row[], filter: string, sort?: { column: ColumnId; down: boolean }): Row[] {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = rows.filter(({ text }) => words.every((word) => text.includes(word)));
  if (sort === undefined) return shown;
  const { column, down } = sort;
  const byText = (a = '', b = '') => (a === b ? 0 : compare(a, b));
  const order = (a: Row, b: Row) =>
    NUMERIC.has(column) ? (a.keys[column] ?? 0) - (b.keys[column] ?? 0) : byText(a.cells[column], b.cells[column]);
  return shown.sort((a, b) => (down ? -order(a, b) : order(a, b)));
}

/** "psql (71)". */
export const programOf = ({ program, pid }: Origin): string =>
  [plain(program ?? ''), pid ? `(${pid})` : ''].filter(Boolean).join(' ');

/** "tcp db.corp.example:5432". The port of a DNS question is the type of its record. */
export function targetOf({ network, host, port }: Flow | Refused): string {
  const at = plain(host);
  return `${network} ${port && network !== 'dns' ? `${at.includes(':') ? `[${at}]` : at}:${port}` : at}`;
}

/** Returns the target of a refusal if a new resource would cover it: none covers it yet. */
export function addable(of: Row['of']): { host: string; port: number } | undefined {
  if (!('count' in of)) return undefined;
  const { network, host, port, resource, code } = of;
  return network === 'tcp' && resource === undefined && code === 'denied' && port ? { host, port } : undefined;
}

function flowRow(flow: Flow, now: number, texts: PanelTexts): Row {
  const row = once(flow, () => ({
    id: flow.id,
    of: flow,
    over: flow.state === 'closed' || flow.state === 'failed',
    bad: flow.state === 'failed',
    cells: {
      program: programOf(flow),
      user: plain(flow.user ?? ''),
      resource: plain(flow.resource),
      target: targetOf(flow),
      address: plain(flow.address ?? ''),
      way: plain(flow.way),
      down: bytes(flow.bytesDown),
      up: bytes(flow.bytesUp),
      state: [texts.states[flow.state], plain(flow.reason ?? '')].filter(Boolean).join(': '),
    },
    keys: { down: flow.bytesDown, up: flow.bytesUp },
  }));
  const age = flow.ended ?? Math.max(0, now - Date.parse(flow.began));
  row.keys.age = age;
  row.cells.age = duration(age);
  return row;
}

function questionRow(question: Question): Omit<Row, 'text'> {
  const at = Date.parse(question.time);
  return {
    id: question.id,
    of: question,
    bad: !question.ok,
    cells: {
      time: clock(at),
      name: plain(question.name),
      type: plain(question.type),
      answer: plain(question.answer),
      from: plain(question.from ?? ''),
      took: duration(question.millis),
      program: programOf(question),
    },
    keys: { time: at, took: question.millis },
  };
}

function refusedRow(refused: Refused): Omit<Row, 'text'> {
  const at = Date.parse(refused.time);
  return {
    id: refused.id,
    of: refused,
    bad: true,
    cells: {
      time: clock(at),
      target: targetOf(refused),
      count: String(refused.count),
      program: programOf(refused),
      resource: plain(refused.resource ?? refused.waiting ?? ''),
      reason: plain(refused.reason),
    },
    keys: { time: at, count: refused.count },
  };
}

/** "0.4 ms", "35 ms", "12 s", "3 min", "2 h". */
export function duration(ms: number): string {
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${Math.round(ms / 1000)} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  return `${Math.round(ms / 3_600_000)} h`;
}

function clock(at: number): string {
  return Number.isNaN(at) ? '' : new Date(at).toLocaleTimeString();
}
