import { describe, expect, it } from 'vitest';
import { toArchive } from '../../panel/src/export';
import { SPAN_MS, Store } from '../../panel/src/store';
import { arrange, duration, rowsOf, type TabId } from '../../panel/src/tables';
import {
  type Flow,
  type FlowsDelta,
  MAX_QUESTIONS,
  MAX_REFUSALS,
  type Question,
  type Refused,
} from '../../shared/src/flows';
import { panelTexts } from '../../ui/src/panelTexts';

const START = Date.parse('2026-11-28T10:00:00Z');
const at = (ms: number) => new Date(START + ms).toISOString();
const texts = panelTexts();

const flow = (id: number, more: Partial<Flow> = {}): Flow => ({
  id,
  began: at(0),
  network: 'tcp',
  host: 'orders-db.corp.test',
  port: 5432,
  resource: 'orders',
  way: 'names',
  program: 'psql',
  pid: 70 + id,
  state: 'open',
  bytesUp: 0,
  bytesDown: 0,
  ...more,
});
const question = (id: number, more: Partial<Question> = {}): Question => ({
  id,
  time: at(0),
  name: `n${id}.corp.test`,
  type: 'A',
  answer: '10.0.0.1',
  ok: true,
  way: 'dns',
  millis: 3,
  ...more,
});
const refused = (id: number, more: Partial<Refused> = {}): Refused => ({
  id,
  time: at(0),
  count: 1,
  network: 'tcp',
  host: 'other.corp.test',
  port: 80,
  way: 'proxy',
  code: 'denied',
  reason: 'no resource covers it',
  ...more,
});
const delta = (more: Partial<FlowsDelta> = {}, ms = 0): FlowsDelta => ({
  time: at(ms),
  bytesUp: 0,
  bytesDown: 0,
  ...more,
});
const ids = (store: Store, tab: TabId) => rowsOf(store, tab, texts).map(({ id }) => id);

describe('the store of the panel', () => {
  it('keeps what the helper keeps: deltas change, forget and start anew', () => {
    const store = new Store();
    store.apply(delta({ flows: [flow(1), flow(2)], questions: [question(1)], refusals: [refused(1)] }));
    store.apply(
      delta({ counts: [[1, 5, 2048]], gone: [2], flows: [flow(3)], refusals: [refused(2), refused(1, { count: 2 })] }),
    );
    expect(ids(store, 'connections')).toEqual([3, 1]);
    expect(rowsOf(store, 'connections', texts)[1]?.cells).toMatchObject({ down: '2.0 KiB', up: '5 B' });
    expect(ids(store, 'refused')).toEqual([1, 2]);
    store.apply(delta({ counts: [[99, 1, 1]], gone: [98] })); // of flows that it does not know
    store.apply(delta({ reset: true, flows: [flow(7)] }));
    expect([ids(store, 'connections'), ids(store, 'dns'), ids(store, 'refused')]).toEqual([[7], [], []]);
  });

  it('is bounded, whatever the helper sends', () => {
    const store = new Store();
    for (let i = 0; i < 30; i++) {
      const many = Array.from({ length: 100 }, (_, k) => i * 100 + k);
      store.apply(delta({ questions: many.map((id) => question(id)), refusals: many.map((id) => refused(id)) }, i));
    }
    expect(store.questions.length).toBe(MAX_QUESTIONS);
    expect(store.refusals.size).toBe(MAX_REFUSALS);
    expect(store.refusals.has(2999)).toBe(true);
  });

  it('samples rates once a second, and forgets old ones', () => {
    const store = new Store();
    for (let ms = 0; ms <= SPAN_MS + 60_000; ms += 250) {
      store.apply(delta({ bytesDown: ms, bytesUp: 2 * ms, link: { kind: 'direct', rttMillis: 12 } }, ms));
    }
    expect(store.samples.length).toBe(SPAN_MS / 1000 + 1);
    expect(store.samples.at(-1)).toMatchObject({ down: 1000, up: 2000, roundTrip: 12 });
    store.apply(delta({ bytesDown: 0 }, SPAN_MS + 120_000)); // counts that go back give no negative rate
    expect(store.samples.at(-1)?.down).toBe(0);
  });
});

describe('the tables of the panel', () => {
  const store = new Store();
  store.apply(
    delta(
      {
        flows: [
          flow(1, { bytesDown: 900, user: 'dev' }),
          flow(2, { program: 'curl', host: 'fe80::1', port: 80, state: 'failed', reason: 'timed\u202eout', ended: 30 }),
          flow(3, { program: 'a10', bytesDown: 5000 }),
          flow(4, { program: 'a9', bytesDown: 5000 }),
        ],
        questions: [question(1, { ok: false, answer: 'no such name', from: 'cache' })],
        refusals: [refused(1, { waiting: 'shop' })],
      },
      3000,
    ),
  );
  const rows = () => rowsOf(store, 'connections', texts);

  it('say who, where and how, without characters that mislead', () => {
    expect(rows().find(({ id }) => id === 1)?.cells).toMatchObject({
      program: 'psql (71)',
      target: 'tcp orders-db.corp.test:5432',
      age: '3 s',
      state: 'open',
      user: 'dev',
    });
    expect(rows().find(({ id }) => id === 2)).toMatchObject({
      over: true,
      bad: true,
      cells: { target: 'tcp [fe80::1]:80', state: 'failed: timed\\u202eout', age: '30 ms' },
    });
    expect(rowsOf(store, 'dns', texts)[0]).toMatchObject({
      bad: true,
      cells: { answer: 'no such name', from: 'cache', took: '3.0 ms' },
    });
    expect(rowsOf(store, 'refused', texts)[0]?.cells).toMatchObject({
      target: 'tcp other.corp.test:80',
      resource: 'shop',
      count: '1',
    });
  });

  it.each([
    ['', undefined, [4, 3, 2, 1]],
    ['PSQL orders', undefined, [1]],
    ['nothing', undefined, []],
    ['', { column: 'program', down: false }, [4, 3, 2, 1]],
    ['', { column: 'program', down: true }, [1, 2, 3, 4]],
    ['', { column: 'down', down: true }, [4, 3, 1, 2]],
    ['', { column: 'age', down: false }, [2, 4, 3, 1]],
  ] as const)('filtered by %j and sorted by %j are %j', (filter, sort, wanted) => {
    expect(arrange(rows(), filter, sort).map(({ id }) => id)).toEqual(wanted);
  });

  it('of 5,000 flows are arranged often: a row is made once, and only a flow that changed gets a new one', () => {
    const large = new Store();
    large.apply(delta({ flows: Array.from({ length: 5000 }, (_, id) => flow(id, { host: `h${id % 97}.corp.test` })) }));
    const all = () => rowsOf(large, 'connections', texts);
    const before = new Map(all().map((row) => [row.id, row]));
    const began = performance.now();
    for (let i = 1; i <= 8; i++) {
      large.apply(delta({ counts: [[7, i, i]] }, i * 1000));
      arrange(all(), 'psql corp', { column: 'target', down: true });
    }
    expect(performance.now() - began).toBeLessThan(1500);
    expect(
      all()
        .filter((row) => before.get(row.id) !== row)
        .map(({ id }) => id),
    ).toEqual([7]);
    expect(all()[0]?.cells.age).toBe('8 s');
  });

  it('stay as they are while paused', () => {
    const running = new Store();
    running.apply(delta({ flows: [flow(1)], questions: [question(1)], refusals: [refused(1)] }));
    const still = running.still();
    const tabs: TabId[] = ['connections', 'dns', 'refused'];
    const shown = () => structuredClone(tabs.map((tab) => rowsOf(still, tab, texts)));
    const before = shown();
    running.apply(
      delta({ flows: [flow(2)], counts: [[1, 9, 9]], questions: [question(2)], refusals: [refused(1, { count: 2 })] }),
    );
    running.apply(delta({ gone: [1] }, 5000));
    running.clear();
    expect(shown()).toEqual(before);
  });
});

describe('the archive', () => {
  it('has entries with their timings in the manner of HAR', () => {
    const store = new Store();
    store.apply(
      delta({
        flows: [flow(1, { lookedUp: 2, judged: 3, dialled: 10, firstByte: 15, ended: 40, state: 'closed' }), flow(2)],
        questions: [question(1)],
      }),
    );
    const { log } = JSON.parse(toArchive(store));
    expect(log.entries).toMatchObject([
      {
        startedDateTime: at(0),
        time: 40,
        timings: { dns: 2, connect: 7, wait: 5, receive: 25 },
        host: 'orders-db.corp.test',
      },
      { time: -1, timings: { dns: 0, connect: -1, wait: -1, receive: -1 } },
    ]);
    expect(log.questions.length).toBe(1);
  });
});

it.each([
  [0.42, '0.4 ms'],
  [35.4, '35 ms'],
  [12_000, '12 s'],
  [180_000, '3 min'],
  [9e6, '3 h'],
])('%d ms is %s', (ms, text) => {
  expect(duration(ms)).toBe(text);
});
