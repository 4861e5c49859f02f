import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Flow, FlowsDelta, Refused } from '../../shared/src/flows';
import type { FromPanel, ToPanel } from '../../shared/src/panel';
import { panelTexts } from '../../ui/src/panelTexts';
import { body, document, type FakeElement } from '../dom';

/** Not a literal, since the tests are checked without the types of a page. */
const PAGE: string = new URL('../../panel/src/main.ts', import.meta.url).pathname;
const time = '2026-11-28T10:00:00Z';
const flow = (id: number, host: string, bytesDown = 0): Flow => ({
  id,
  began: time,
  network: 'tcp',
  host,
  port: 80,
  resource: 'web',
  way: 'names',
  state: 'open',
  bytesUp: 0,
  bytesDown,
});
const refused = (id: number, more: Partial<Refused>): Refused => ({
  id,
  time,
  count: 1,
  network: 'tcp',
  host: 'other.corp.test',
  port: 80,
  way: 'proxy',
  code: 'denied',
  reason: 'no resource covers it',
  ...more,
});

let kept: unknown;
let posted: FromPanel[];
let send: (message: ToPanel) => void;
const delta = (more: Partial<FlowsDelta>) =>
  send({ type: 'delta', delta: { time, bytesUp: 0, bytesDown: 0, ...more } });

/** Opens the page, as the editor does each time the view becomes visible. */
async function open(): Promise<void> {
  vi.resetModules();
  posted = [];
  body.replaceChildren();
  vi.stubGlobal('document', document);
  vi.stubGlobal('window', {
    addEventListener: (_: string, listener: (event: { data: ToPanel }) => void) => {
      send = (data) => listener({ data });
    },
  });
  vi.stubGlobal('requestAnimationFrame', (draw: () => void) => draw());
  vi.stubGlobal(
    'ResizeObserver',
    class {
      observe() {}
    },
  );
  vi.stubGlobal('acquireVsCodeApi', () => ({
    postMessage: (message: FromPanel) => posted.push(message),
    getState: () => kept,
    setState: (state: unknown) => {
      kept = state;
    },
  }));
  await import(PAGE);
  send({ type: 'texts', texts: panelTexts() });
  send({ type: 'state', text: '' });
}

const one = (name: string): FakeElement => {
  const [first] = body.all(name);
  if (first === undefined) throw new Error(`no ${name}`);
  return first;
};
const rows = () => body.all('row').filter(({ className }) => !String(className).includes('head'));
const named = (text: string) => body.all('button').find(({ textContent }) => textContent.startsWith(text));
const selected = () => rows().filter(({ attributes }) => attributes.get('aria-selected') === 'true').length;

beforeEach(async () => {
  kept = undefined;
  await open();
});

describe('the page of the panel', () => {
  it('keeps the buttons of the details while the flow moves bytes, and they take the newest row', () => {
    delta({ flows: [flow(1, 'web.corp.test')] });
    rows()[0]?.click();
    const [copy, value] = [named('Copy'), one('aside').all('dd').at(-1)];
    delta({ counts: [[1, 5, 2048]] });
    expect(one('aside').textContent).toContain('2.0 KiB');
    expect(named('Copy')).toBe(copy);
    expect(one('aside').all('dd').at(-1)).toBe(value);
    copy?.click();
    expect(posted.at(-1)).toMatchObject({ type: 'copy', text: expect.stringContaining('"bytesDown": 2048') });
    delta({ flows: [{ ...flow(1, 'web.corp.test', 4096), dialled: 7, firstByte: 9 }] });
    expect(one('aside').textContent).toMatch(/connected: 7\.0 ms/);
    expect(named('Copy')).toBe(copy);
  });

  it.each([
    ['a reset', () => delta({ reset: true, flows: [flow(1, 'another.corp.test')] })],
    [
      'the end of the session',
      () => {
        send({ type: 'state', text: 'Causeway: disconnected' });
        send({ type: 'state', text: '' });
        delta({ flows: [flow(1, 'another.corp.test')] });
      },
    ],
  ])('closes the details and selects nothing at %s: another row has the same id then', (_, next) => {
    delta({ flows: [flow(1, 'web.corp.test')] });
    rows()[0]?.click();
    expect([one('aside').hidden, selected()]).toEqual([false, 1]);
    next();
    expect(rows()[0]?.textContent).toContain('another.corp.test');
    expect([one('aside').hidden, selected()]).toEqual([true, 0]);
  });

  it('keeps the tab, the filter and the order while nobody sees it', async () => {
    named('Refused')?.click();
    named('Times')?.click();
    const filter = one('input');
    filter.value = 'corp';
    (filter.oninput as () => void)();
    await open();
    expect(one('input').value).toBe('corp');
    expect(named('Refused')?.attributes.get('aria-selected')).toBe('true');
    expect(named('Times')?.attributes.get('aria-sort')).toBe('descending');
  });

  it.each([
    ['no resource covers it', {}, true],
    ['a resource covers it', { resource: 'limited' }, false],
    ['it is UDP', { network: 'udp' }, false],
    ['it is a question', { network: 'dns', port: 28 }, false],
  ])('offers a resource for a refusal or not: %s', (_, more, isOffered) => {
    named('Refused')?.click();
    delta({ refusals: [refused(1, more)] });
    rows()[0]?.click();
    expect(named('Add as Resource') !== undefined).toBe(isOffered);
    expect(one('h2').textContent.endsWith(':28')).toBe(false);
    named('Add as Resource')?.click();
    expect(posted.some(({ type }) => type === 'add')).toBe(isOffered);
  });

  it('counts one row as one', () => {
    delta({ flows: [flow(1, 'web.corp.test')] });
    expect(one('nav').textContent).toContain('1 row');
    expect(one('nav').textContent).not.toContain('1 rows');
  });
});
