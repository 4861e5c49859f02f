// The page of the panel. It shows what the extension passes on from the helper, and asks the
// extension for everything else.
import { type ColumnId, type FromPanel, MAX_PANEL_TEXT, type PanelTexts, type ToPanel } from '../../shared/src/panel';
import { bytes, plain } from '../../shared/src/text';
import { Details } from './details';
import { button, setText } from './elements';
import { toArchive } from './export';
import { Grid } from './grid';
import { Plot } from './plot';
import { Store } from './store';
import { arrange, COLUMNS, duration, NUMERIC, rowsOf, type TabId } from './tables';

/** What the page keeps while nobody sees it: the editor then ends the page. */
interface Kept {
  tab?: TabId;
  filter?: string;
  sort?: { column: ColumnId; down: boolean } | undefined;
}

declare function acquireVsCodeApi(): {
  postMessage(message: FromPanel): void;
  getState(): Kept | undefined;
  setState(state: Kept): void;
};
const editor = acquireVsCodeApi();
const TABS: TabId[] = ['connections', 'dns', 'refused'];

class Page {
  private readonly store = new Store();
  private tab: TabId = 'connections';
  private sort: { column: ColumnId; down: boolean } | undefined;
  /** What the rows show while the user has paused them. */
  private still: Store | undefined;
  private drawing = false;
  private state = '';
  private readonly tabs = new Map<TabId, HTMLButtonElement>();
  private readonly filter = document.createElement('input');
  private readonly count = document.createElement('span');
  private readonly empty = document.createElement('p');
  private readonly link = document.createElement('span');
  private readonly details: Details;
  private readonly grid: Grid;
  private readonly plots: Record<'down' | 'up' | 'roundTrip', Plot>;

  constructor(private readonly texts: PanelTexts) {
    this.grid = new Grid({ sort: (column) => this.sortBy(column), open: (row) => this.details.open(this.tab, row) });
    this.details = new Details(texts, {
      copy: (row) => editor.postMessage({ type: 'copy', text: JSON.stringify(row.of, null, 2) }),
      close: () => this.close(),
      review: () => editor.postMessage({ type: 'review' }),
      add: (host, port) => editor.postMessage({ type: 'add', host, port }),
    });
    this.plots = { down: new Plot(texts.down), up: new Plot(texts.up), roundTrip: new Plot(texts.roundTrip) };
    document.body.replaceChildren(this.top(), this.bar(), this.main());
    const { tab = 'connections', filter = '', sort } = editor.getState() ?? {};
    this.filter.value = filter;
    this.show(tab, sort);
  }

  setState(text: string): void {
    if (text === this.state) return;
    this.state = text;
    if (text !== '') this.forget();
    this.changed();
  }

  apply(delta: Parameters<Store['apply']>[0]): void {
    if (delta.reset) this.forget();
    this.store.apply(delta);
    this.changed();
  }

  /** Forgets the session. The next one gives its rows the same ids. */
  private forget(): void {
    this.store.clear();
    this.close();
    this.grid.unselect();
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
    this.filter.oninput = () => {
      this.keep();
      this.changed();
    };
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
    main.append(rows, this.details.element);
    main.addEventListener('keydown', ({ key }) => {
      if (key === 'Escape') this.close();
    });
    return main;
  }

  private show(tab: TabId, sort?: Kept['sort']): void {
    this.tab = tab;
    this.sort = sort;
    this.keep();
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
    this.keep();
    this.columns();
    this.changed();
  }

  private keep(): void {
    editor.setState({ tab: this.tab, filter: this.filter.value, sort: this.sort });
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
    setText(this.count, shown.length === 1 ? texts.row : texts.rows.replace('{0}', String(shown.length)));
    const open = [...store.flows.values()].filter(({ state }) => state === 'open' || state === 'opening').length;
    const totals = { connections: open, dns: store.questions.length, refused: store.refusals.size };
    for (const [id, element] of this.tabs) setText(element, `${texts[id]} ${totals[id]}`);
    this.drawLink();
    const { opened } = this.details;
    const now = opened && rows.find(({ id }) => id === opened.id);
    if (now !== undefined) this.details.update(now);
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

  private close(): void {
    const { element } = this.details;
    if (!element.hidden && element.contains(document.activeElement)) this.grid.element.focus();
    this.details.close();
  }
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
