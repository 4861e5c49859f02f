import { describe, expect, it, vi } from 'vitest';
import type { Approval, ApprovalAnswers, Decision } from '../../../shared/src/protocol';
import { Approvals, isAlone, MOST } from '../../../ui/src/approvals';
import type { Connection } from '../../../ui/src/connection';

type Answers = ApprovalAnswers['answers'];

/** An approval that needs a dialog of its own. */
const alone = (id: string) => ({ id, host: `${id}.test`, change: 'changed' }) as Approval;
const plain = (id: string) => ({ id, host: `${id}.test`, change: 'new' }) as Approval;
const result = (...approvals: Approval[]) => ({ problems: [], approvals });

function dialogs() {
  const open: { ids: string; answer(decision?: Decision): void; fail(error: Error): void }[] = [];
  const answer = vi.fn(() => Promise.resolve(result()));
  const failed = vi.fn();
  const connection = () => ({ answer }) as unknown as Connection;
  const approvals = new Approvals(
    (asked) =>
      new Promise<Answers>((resolve, reject) =>
        open.push({
          ids: asked.map(({ id }) => id).join(),
          answer: (decision) => resolve(decision === undefined ? [] : asked.map(({ id }) => ({ id, decision }))),
          fail: reject,
        }),
      ),
    failed,
  );
  return { open, answer, failed, connection, approvals };
}
const settle = () => new Promise((resolve) => setImmediate(resolve));

describe('Approvals', () => {
  it('asks one at a time, and for each once', async () => {
    const { open, answer, connection, approvals } = dialogs();
    approvals.update(result(alone('a'), alone('b')), connection);
    approvals.update(result(alone('a'), alone('b')), connection);
    expect(open.map(({ ids }) => ids)).toEqual(['a']);
    open[0]?.answer('always');
    await settle();
    expect(open.map(({ ids }) => ids)).toEqual(['a', 'b']);
    open[1]?.answer('no');
    await settle();
    approvals.update(result(alone('b')), connection);
    await settle();
    expect(open.length).toBe(2);
    expect(answer.mock.calls).toEqual([
      [{ answers: [{ id: 'a', decision: 'always' }] }],
      [{ answers: [{ id: 'b', decision: 'no' }] }],
    ]);
  });

  it('asks for many together, and alone for what is risky, wide or changed', async () => {
    const { open, answer, connection, approvals } = dialogs();
    const wide = { ...plain('wide'), host: '*.corp.test' };
    const risky = { ...plain('risky'), warnings: ['It covers all ports.'] };
    approvals.update(result(wide, plain('a'), risky, plain('b'), alone('changed')), connection);
    for (let i = 0; i < 4; i++) {
      open[i]?.answer('once');
      await settle();
    }
    expect(open.map(({ ids }) => ids)).toEqual(['a,b', 'wide', 'risky', 'changed']);
    expect(answer.mock.calls[0]).toEqual([
      {
        answers: [
          { id: 'a', decision: 'once' },
          { id: 'b', decision: 'once' },
        ],
      },
    ]);
    const network = { ...plain('n'), host: '10.0.0.0/8' };
    expect([plain('a'), { ...plain('a'), warnings: [] }, network].map(isAlone)).toEqual([false, false, true]);
  });

  it('asks for no more at once than a dialog can show', async () => {
    const { open, connection, approvals } = dialogs();
    const many = Array.from({ length: MOST + 3 }, (_, i) => plain(`r${i}`));
    approvals.update(result(...many), connection);
    open[0]?.answer('once');
    await settle();
    expect(open.map(({ ids }) => ids.split(',').length)).toEqual([MOST, 3]);
  });

  it('does not ask for what has been taken back', async () => {
    const { open, connection, approvals } = dialogs();
    approvals.update(result(alone('a'), alone('b')), connection);
    approvals.update(result(alone('a')), connection);
    open[0]?.answer('once');
    await settle();
    expect(open.length).toBe(1);
  });

  it('leaves what is put off waiting, and asks again when told to', async () => {
    const { open, answer, connection, approvals } = dialogs();
    approvals.update(result(plain('a'), plain('b')), connection);
    approvals.again();
    open[0]?.answer(undefined);
    await settle();
    expect([open.length, answer.mock.calls.length]).toEqual([1, 0]);
    approvals.again();
    open[1]?.answer('once');
    await settle();
    expect(answer).toHaveBeenCalledTimes(1);
  });

  it('lets a dialog of an old session answer nothing, and asks anew in the next', async () => {
    const { open, answer, connection, approvals } = dialogs();
    approvals.update(result(alone('a')), connection);
    approvals.update(undefined, () => undefined);
    approvals.update(result(alone('a')), connection);
    open[0]?.answer('always');
    await settle();
    expect(answer).not.toHaveBeenCalled();
    expect(open.length).toBe(2);
    open[1]?.answer('once');
    await settle();
    expect(answer).toHaveBeenCalledTimes(1);
  });

  it('reports a dialog that fails, and goes on with the next', async () => {
    const { open, failed, connection, approvals } = dialogs();
    approvals.update(result(alone('a'), alone('b')), connection);
    open[0]?.fail(new Error('the window is closing'));
    await settle();
    expect(failed).toHaveBeenCalledTimes(1);
    expect(open.map(({ ids }) => ids)).toEqual(['a', 'b']);
  });
});
