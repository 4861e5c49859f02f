// The page of the panel. It shows what the extension passes on from the helper, and asks the
// extension for everything else.
import type { Flow, Refused } from '../../shared/src/flows';
import { type ColumnId, type FromPanel, MAX_PANEL_TEXT, type PanelTexts, type ToPanel } from '../../shared/src/panel';
import { bytes, plain } from '../../shared/src/text';
import { toArchive } from './export';
import { Grid } from './grid';
import { Plot } from './plot';
import { Store } from './store';
import { arrange, COLUMNS, duration, NUMERIC, programOf, type Row, rowsOf, type TabId, targetOf } from './tables';

declare function acquireVsCodeApi(): { postMessage(message: FromPanel): void };
const editor = acquireVsCodeApi();
const TABS: TabId[] = ['connections', 'dns', 'refused'];
const STEPS = ['lookedUp', 'judged', 'dialled', 'firstByte', 'ended'] as const;

class Page {
  private readonly store = new Store();
  private tab: TabId = 'connections';
  private sort: { column: ColumnId; down: boolean } | undefined;
  /** What the rows show while the user has paused them. */
  private still: Store | undefined;
  private drawing = false;
  private state = '';
  private opened: Row | undefined;
  private readonly tabs = new Map<TabId, HTMLButtonElement>();
  private readonly filter = document.createElement('input');
  private readonly count = document.createElement('span');
  private readonly empty = document.createElement('p');
  private readonly link = document.createElement('span');
  private readonly detail = document.createElement('aside');
  private readonly grid: Grid;
  private readonly plots: Record<'down' | 'up' | 'roundTrip', Plot>;

  constructor(private readonly texts: PanelTexts) {
    this.grid = new Grid({ sort: (column) => this.sortBy(column), open: (row) => this.open(row) });
    this.plots = { down: new Plot(texts.down), up: new Plot(texts.up), roundTrip: new Plot(texts.roundTrip) };
    document.body.replaceChildren(this.top(), this.bar(), this.main());
    this.show('connections');
  }

  setState(text: string): void {
    if (text === this.state) return;
    this.state = text;
    if (text !== '') this.store.clear();
    this.changed();
  }

  apply(delta: Parameters<Store['apply']>[0]): void {
    this.store.apply(delta);
    this.changed();
  }

  private top(): HTMLElement {
    const header = document.createElement('header');
    this.link.id = 'link';
    header.append(this.link, this.plots.down.element, this.plots.up.element, this.plots.roundTrip.element);
    return header;
  }

  private bar(): HTMLElement {
    const nav = document.createElement('nav');
    const list = document.createElement('div');
    list.setAttribute('role', 'tablist');
    for (const id of TABS) {
      const tab = button('', () => this.show(id));
      tab.setAttribute('role', 'tab');
      tab.setAttribute('aria-controls', 'rows');
      tab.id = `tab-${id}`;
      this.tabs.set(id, tab);
      list.append(tab);
    }
    list.addEventListener('keydown', ({ key }) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[key];
      if (step === undefined) return;
      const next = TABS[(TABS.indexOf(this.tab) + step + TABS.length) % TABS.length] ?? 'connections';
      this.show(next);
      this.tabs.get(next)?.focus();
    });
    this.filter.type = 'search';
    this.filter.placeholder = this.texts.filter;
    this.filter.setAttribute('aria-label', this.texts.filter);
    this.filter.oninput = () => this.changed();
    const pause = button(this.texts.pause, () => {
      this.still = this.still === undefined ? this.store.still() : undefined;
      pause.textContent = this.still ? this.texts.resume : this.texts.pause;
      this.changed();
    });
    pause.id = 'pause';
    const save = button(this.texts.export, () =>
      editor.postMessage({ type: 'export', text: toArchive(this.still ?? this.store).slice(0, MAX_PANEL_TEXT) }),
    );
    this.count.id = 'count';
    nav.append(list, this.filter, this.count, pause, save);
    return nav;
  }

  private main(): HTMLElement {
    const main = document.createElement('main');
    const rows = document.createElement('section');
    rows.id = 'rows';
    rows.setAttribute('role', 'tabpanel');
    this.empty.className = 'empty';
    this.empty.setAttribute('role', 'status');
    rows.append(this.empty, this.grid.element);
    this.detail.hidden = true;
    this.detail.setAttribute('aria-label', this.texts.details);
    main.append(rows, this.detail);
    main.addEventListener('keydown', ({ key }) => {
      if (key === 'Escape') this.close();
    });
    return main;
  }

  private show(tab: TabId): void {
    this.tab = tab;
    this.sort = undefined;
    this.close();
    for (const [id, element] of this.tabs) {
      element.setAttribute('aria-selected', String(id === tab));
      element.tabIndex = id === tab ? 0 : -1;
    }
    this.columns();
    this.changed();
  }

  private columns(): void {
    this.grid.setColumns(COLUMNS[this.tab], this.texts.columns, this.sort, this.texts[this.tab]);
  }

  private sortBy(column: ColumnId): void {
    const { sort } = this;
    // Numbers begin with the largest, words with A. A third click puts back the order of time.
    const first = NUMERIC.has(column);
    if (sort?.column !== column) this.sort = { column, down: first };
    else this.sort = sort.down === first ? { column, down: !first } : undefined;
    this.columns();
    this.changed();
  }

  /** Draws once, soon. */
  private changed(): void {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      this.draw();
    });
  }

  private draw(): void {
    const { texts, tab } = this;
    const store = this.still ?? this.store;
    const rows = rowsOf(store, tab, texts);
    const shown = arrange(rows, this.filter.value, this.sort);
    this.grid.setRows(shown);
    this.grid.element.hidden = shown.length === 0;
    this.empty.hidden = shown.length > 0;
    setText(this.empty, this.state || (rows.length > 0 ? texts.noMatch : texts.noRows));
    setText(this.count, texts.rows.replace('{0}', String(shown.length)));
    const open = [...store.flows.values()].filter(({ state }) => state === 'open' || state === 'opening').length;
    const totals = { connections: open, dns: store.questions.length, refused: store.refusals.size };
    for (const [id, element] of this.tabs) setText(element, `${texts[id]} ${totals[id]}`);
    this.drawLink();
    const { opened } = this;
    const now = opened && rows.find(({ id }) => id === opened.id);
    if (now !== undefined && now.of !== opened?.of) this.open(now);
  }

  private drawLink(): void {
    const { store, texts, plots } = this;
    const { link, samples, now } = store;
    const number = (link?.links ?? 1) > 1 ? ` × ${link?.links}` : '';
    setText(this.link, link === undefined ? texts.noLink : `${texts.link} ${plain(link.kind)}${number}`);
    const last = samples.at(-1);
    const points = (key: 'down' | 'up' | 'roundTrip') =>
      samples.map((sample) => ({ at: sample.at, value: sample[key] }));
    plots.down.draw(points('down'), now, `${bytes(last?.down ?? 0)}/s`);
    plots.up.draw(points('up'), now, `${bytes(last?.up ?? 0)}/s`);
    plots.roundTrip.draw(points('roundTrip'), now, duration(link?.rttMillis ?? 0));
  }

  private open(row: Row): void {
    this.opened = row;
    const { texts } = this;
    const title = document.createElement('h2');
    title.textContent = row.cells.target ?? row.cells.name ?? '';
    const list = document.createElement('dl');
    for (const [id] of COLUMNS[this.tab]) {
      if (row.cells[id]) list.append(term(texts.columns[id], row.cells[id]));
    }
    const actions = document.createElement('p');
    const copy = () => editor.postMessage({ type: 'copy', text: JSON.stringify(row.of, null, 2) });
    actions.append(
      button(texts.copyRow, copy),
      button(texts.close, () => this.close()),
    );
    if (this.tab === 'refused') actions.prepend(...this.remedy(row.of as Refused));
    const parts: HTMLElement[] = [title, actions, list];
    if (this.tab === 'connections') parts.push(...this.timeline(row.of as Flow));
    // A button that is in use stays, so that the focus does.
    const focus = document.activeElement?.textContent;
    const had = this.detail.contains(document.activeElement);
    this.detail.replaceChildren(...parts);
    this.detail.hidden = false;
    if (had) [...this.detail.querySelectorAll('button')].find(({ textContent }) => textContent === focus)?.focus();
  }

  private close(): void {
    if (!this.detail.hidden && this.detail.contains(document.activeElement)) this.grid.element.focus();
    this.opened = undefined;
    this.detail.hidden = true;
  }

  /** The way out of a refusal. The extension opens its own dialogs: nothing here approves. */
  private remedy({ waiting, host, port, code }: Refused): HTMLButtonElement[] {
    if (waiting !== undefined) return [button(this.texts.allow, () => editor.postMessage({ type: 'review' }))];
    if (code !== 'denied' || !port) return [];
    return [button(this.texts.add, () => editor.postMessage({ type: 'add', host, port }))];
  }

  private timeline(flow: Flow): HTMLElement[] {
    const { texts } = this;
    const title = document.createElement('h3');
    title.textContent = texts.timeline;
    const list = document.createElement('ol');
    let before = 0;
    for (const step of STEPS) {
      const at = flow[step];
      if (at === undefined) continue;
      const item = document.createElement('li');
      item.textContent = `${texts.steps[step]}: ${duration(at)}`;
      const line = document.createElement('i');
      const whole = Math.max(flow.ended ?? at, flow.firstByte ?? at, 0.001);
      line.style.marginInlineStart = `${Math.min(100, (before / whole) * 100)}%`;
      line.style.width = `${Math.max(0.5, Math.min(100, ((at - before) / whole) * 100))}%`;
      item.append(line);
      list.append(item);
      before = at;
    }
    const who = document.createElement('p');
    who.textContent = [programOf(flow), targetOf(flow)].filter(Boolean).join(' → ');
    return [title, who, list];
  }
}

function button(text: string, click: () => void): HTMLButtonElement {
  const element = document.createElement('button');
  element.type = 'button';
  element.textContent = text;
  element.onclick = click;
  return element;
}

function term(name: string, value: string): DocumentFragment {
  const fragment = document.createDocumentFragment();
  const dt = document.createElement('dt');
  const dd = document.createElement('dd');
  dt.textContent = name;
  dd.textContent = value;
  fragment.append(dt, dd);
  return fragment;
}

/** Changes only what differs: a screen reader reads each change. */
function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

let page: Page | undefined;
window.addEventListener('message', ({ data }: MessageEvent<ToPanel>) => {
  switch (data.type) {
    case 'texts':
      page ??= new Page(data.texts);
      break;
    case 'state':
      page?.setState(data.text);
      break;
    case 'delta':
      page?.apply(data.delta);
      break;
  }
});
editor.postMessage({ type: 'ready' });
