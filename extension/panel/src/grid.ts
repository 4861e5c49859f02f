import type { ColumnId } from '../../shared/src/panel';
import type { Row } from './tables';

const ROW_PX = 22;
/** Rows above and below those that are in view. */
const SPARE = 10;

/** What a grid tells. */
export interface GridEvents {
  sort(column: ColumnId): void;
  /** The user has opened a row: by Enter or a click. */
  open(row: Row): void;
}

/**
 * A table of any length: the document has only the rows in view. Arrow keys, Page Up, Page Down, Home and End move
 * the selection, and Enter opens the row.
 */
export class Grid {
  readonly element = document.createElement('div');
  private readonly head = document.createElement('div');
  private readonly body = document.createElement('div');
  private readonly tall = document.createElement('div');
  private rows: Row[] = [];
  private columns: [ColumnId, string][] = [];
  private selected: number | undefined;

  constructor(private readonly events: GridEvents) {
    this.element.className = 'grid';
    this.element.setAttribute('role', 'grid');
    this.element.tabIndex = 0;
    this.head.className = 'row head';
    this.head.setAttribute('role', 'row');
    this.body.className = 'body';
    this.body.setAttribute('role', 'rowgroup');
    this.body.append(this.tall);
    this.tall.className = 'tall';
    this.tall.setAttribute('role', 'presentation');
    this.element.append(this.head, this.body);
    this.body.addEventListener('scroll', () => this.draw());
    new ResizeObserver(() => this.draw()).observe(this.body);
    this.element.addEventListener('keydown', (event) => this.key(event));
  }

  /** Sets the columns: their widths and names, and which of them the rows are sorted by. */
  setColumns(
    columns: [ColumnId, string][],
    names: Record<ColumnId, string>,
    sort: { column: ColumnId; down: boolean } | undefined,
    label: string,
  ): void {
    this.columns = columns;
    this.element.setAttribute('aria-label', label);
    this.element.style.setProperty('--columns', columns.map(([, width]) => width).join(' '));
    this.head.replaceChildren(
      ...columns.map(([id]) => {
        const cell = document.createElement('button');
        cell.type = 'button';
        cell.setAttribute('role', 'columnheader');
        cell.textContent = names[id];
        if (sort?.column === id) cell.setAttribute('aria-sort', sort.down ? 'descending' : 'ascending');
        cell.onclick = () => this.events.sort(id);
        return cell;
      }),
    );
  }

  /** Shows rows. The selection stays at its row. */
  setRows(rows: Row[]): void {
    this.rows = rows;
    this.element.setAttribute('aria-rowcount', String(rows.length + 1));
    this.tall.style.height = `${rows.length * ROW_PX}px`;
    this.draw();
  }

  /** Selects no row. */
  unselect(): void {
    this.selected = undefined;
    this.draw();
  }

  private draw(): void {
    const first = Math.max(0, Math.floor(this.body.scrollTop / ROW_PX) - SPARE);
    const count = Math.ceil(this.body.clientHeight / ROW_PX) + 2 * SPARE;
    const shown = this.rows.slice(first, first + count);
    const elements = [...this.tall.children] as HTMLElement[];
    for (const surplus of elements.splice(shown.length)) surplus.remove();
    shown.forEach((row, i) => {
      const element = elements[i] ?? this.tall.appendChild(document.createElement('div'));
      this.fill(element, row, first + i);
    });
    this.element.setAttribute('aria-activedescendant', this.selected === undefined ? '' : `row-${this.selected}`);
  }

  private fill(element: HTMLElement, row: Row, index: number): void {
    element.id = `row-${row.id}`;
    element.className = `row${row.over ? ' over' : ''}${row.bad ? ' bad' : ''}`;
    element.style.top = `${index * ROW_PX}px`;
    element.setAttribute('role', 'row');
    element.setAttribute('aria-rowindex', String(index + 2));
    element.setAttribute('aria-selected', String(row.id === this.selected));
    element.onclick = () => {
      this.select(index);
      this.events.open(row);
    };
    const cells = [...element.children] as HTMLElement[];
    for (const surplus of cells.splice(this.columns.length)) surplus.remove();
    this.columns.forEach(([id], i) => {
      const cell = cells[i] ?? element.appendChild(document.createElement('span'));
      cell.setAttribute('role', 'gridcell');
      const text = row.cells[id] ?? '';
      if (cell.textContent !== text) {
        cell.textContent = text;
        cell.title = text;
      }
    });
  }

  private key(event: KeyboardEvent): void {
    const at = this.rows.findIndex(({ id }) => id === this.selected);
    const page = Math.max(1, Math.floor(this.body.clientHeight / ROW_PX) - 1);
    const to: Record<string, number> = {
      ArrowDown: at + 1,
      ArrowUp: Math.max(0, at - 1),
      PageDown: at + page,
      PageUp: at - page,
      Home: 0,
      End: this.rows.length - 1,
    };
    const row = this.rows[at];
    if (event.key === 'Enter' && row !== undefined && event.target === this.element) this.events.open(row);
    else if (to[event.key] !== undefined) this.select(Math.min(Math.max(0, to[event.key] ?? 0), this.rows.length - 1));
    else return;
    event.preventDefault();
  }

  private select(index: number): void {
    this.selected = this.rows[index]?.id;
    const top = index * ROW_PX;
    if (top < this.body.scrollTop) this.body.scrollTop = top;
    else if (top + ROW_PX > this.body.scrollTop + this.body.clientHeight) {
      this.body.scrollTop = top + ROW_PX - this.body.clientHeight;
    }
    this.draw();
  }
}
