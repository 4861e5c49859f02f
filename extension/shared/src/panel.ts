// What the panel's page and the extension say to each other. The page shows text that comes from
// the remote, so the extension takes its messages as wishes of anybody: none of them approves.

import type { FlowsDelta } from './flows';

/** To the page. */
export type ToPanel =
  | { type: 'texts'; texts: PanelTexts }
  /** Why there is nothing to show, or '' while connected. */
  | { type: 'state'; text: string }
  | { type: 'delta'; delta: FlowsDelta };

/** From the page. */
export type FromPanel =
  | { type: 'ready' }
  /** The user wants to see the approval dialog. */
  | { type: 'review' }
  /** The user wants to add a resource for a refused host. */
  | { type: 'add'; host: string; port: number }
  | { type: 'copy'; text: string }
  /** The rows as a document in JSON. */
  | { type: 'export'; text: string };

/** Most characters of a text that the page sends. */
export const MAX_PANEL_TEXT = 8 << 20;

/** Everything that the page says, in the user's language. {0} stands for a number or a name. */
export interface PanelTexts {
  connections: string;
  dns: string;
  refused: string;
  filter: string;
  pause: string;
  resume: string;
  export: string;
  copyRow: string;
  close: string;
  allow: string;
  add: string;
  noRows: string;
  noMatch: string;
  row: string;
  rows: string;
  link: string;
  noLink: string;
  down: string;
  up: string;
  roundTrip: string;
  details: string;
  timeline: string;
  columns: Record<ColumnId, string>;
  states: Record<'opening' | 'open' | 'closed' | 'failed', string>;
  steps: Record<'lookedUp' | 'judged' | 'dialled' | 'firstByte' | 'ended', string>;
}

/** The columns of the three tables. */
export type ColumnId =
  | 'time'
  | 'program'
  | 'user'
  | 'resource'
  | 'target'
  | 'address'
  | 'way'
  | 'down'
  | 'up'
  | 'age'
  | 'state'
  | 'name'
  | 'type'
  | 'answer'
  | 'took'
  | 'from'
  | 'count'
  | 'reason';
