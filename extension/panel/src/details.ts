import type { Flow } from '../../shared/src/flows';
import type { PanelTexts } from '../../shared/src/panel';
import { button, setText } from './elements';
import { addable, COLUMNS, duration, programOf, type Row, type TabId, targetOf } from './tables';

const STEPS = ['lookedUp', 'judged', 'dialled', 'firstByte', 'ended'] as const;

/** What the details of a row ask for. Each gets the row as it is now. */
export interface DetailsEvents {
  copy(row: Row): void;
  close(): void;
  /** The user wants to see the approval dialog. */
  review(): void;
  add(host: string, port: number): void;
}

/**
 * The details of one row. The elements are made once per row that the user opens, so that a click, the focus and a
 * selection of text outlast the updates; an update changes only the texts that differ.
 */
export class Details {
  readonly element = document.createElement('aside');
  private row: Row | undefined;
  private tab: TabId = 'connections';
  private readonly title = document.createElement('h2');
  private readonly actions = document.createElement('p');
  private readonly list = document.createElement('dl');
  private readonly who = document.createElement('p');
  private readonly timeline = document.createElement('ol');
  private values: { column: string; element: HTMLElement }[] = [];
  private drawn = '';

  constructor(
    private readonly texts: PanelTexts,
    private readonly events: DetailsEvents,
  ) {
    this.element.hidden = true;
    this.element.setAttribute('aria-label', texts.details);
  }

  /** The row that is open, as it was at the last update. */
  get opened(): Row | undefined {
    return this.row;
  }

  /** Shows a row of a tab. */
  open(tab: TabId, row: Row): void {
    this.tab = tab;
    this.row = row;
    this.values = [];
    this.drawn = '';
    this.actions.replaceChildren(...this.buttons());
    const parts: HTMLElement[] = [this.title, this.actions, this.list];
    if (tab === 'connections') {
      const heading = document.createElement('h3');
      heading.textContent = this.texts.timeline;
      parts.push(heading, this.who, this.timeline);
    }
    this.element.replaceChildren(...parts);
    this.element.hidden = false;
    this.draw(row);
  }

  /** Takes the newest state of the row that is open. */
  update(row: Row): void {
    if (this.row === undefined || row.of === this.row.of) return;
    this.row = row;
    this.draw(row);
  }

  close(): void {
    this.row = undefined;
    this.element.hidden = true;
  }

  private buttons(): HTMLButtonElement[] {
    const { texts, events } = this;
    const copy = button(texts.copyRow, () => this.row && events.copy(this.row));
    return [...this.remedy(), copy, button(texts.close, () => events.close())];
  }

  /** The way out of a refusal. The extension opens its own dialogs: nothing here approves. */
  private remedy(): HTMLButtonElement[] {
    const { row, tab, texts, events } = this;
    if (row === undefined || tab !== 'refused') return [];
    if ('waiting' in row.of) return [button(texts.allow, () => events.review())];
    const target = addable(row.of);
    return target ? [button(texts.add, () => events.add(target.host, target.port))] : [];
  }

  private draw({ cells, of }: Row): void {
    setText(this.title, cells.target ?? cells.name ?? '');
    const columns = COLUMNS[this.tab].map(([id]) => id).filter((id) => cells[id]);
    if (columns.join() !== this.values.map(({ column }) => column).join()) {
      this.values = columns.map((column) => ({ column, element: document.createElement('dd') }));
      this.list.replaceChildren(
        ...columns.flatMap((column, i) => {
          const name = document.createElement('dt');
          name.textContent = this.texts.columns[column];
          const value = this.values[i]?.element;
          return value ? [name, value] : [];
        }),
      );
    }
    columns.forEach((column, i) => {
      const value = this.values[i]?.element;
      if (value) setText(value, cells[column] ?? '');
    });
    if (this.tab === 'connections') this.drawTimeline(of as Flow);
  }

  private drawTimeline(flow: Flow): void {
    setText(this.who, [programOf(flow), targetOf(flow)].filter(Boolean).join(' → '));
    const steps = STEPS.map((step) => flow[step]).join();
    if (steps === this.drawn) return;
    this.drawn = steps;
    let before = 0;
    const items = STEPS.flatMap((step) => {
      const at = flow[step];
      if (at === undefined) return [];
      const item = document.createElement('li');
      item.textContent = `${this.texts.steps[step]}: ${duration(at)}`;
      const line = document.createElement('i');
      const whole = Math.max(flow.ended ?? at, flow.firstByte ?? at, 0.001);
      line.style.marginInlineStart = `${Math.min(100, (before / whole) * 100)}%`;
      line.style.width = `${Math.max(0.5, Math.min(100, ((at - before) / whole) * 100))}%`;
      item.append(line);
      before = at;
      return [item];
    });
    this.timeline.replaceChildren(...items);
  }
}
