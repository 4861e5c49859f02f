import { describe, expect, it } from 'vitest';
import { CommandLink } from '../../../shared/src/commandLink';
import { MAX_FRAME } from '../../../shared/src/framing';
import type { Wire } from '../../../shared/src/wire';

function link() {
  const taken: Uint8Array[] = [];
  const sent: Uint8Array[][] = [];
  const lost: string[] = [];
  const wire = {
    backlog: 0,
    sendFrame: (bytes: Uint8Array) => taken.push(bytes),
    pause: () => {},
    resume: () => {},
  };
  const made = new CommandLink({
    id: '00'.repeat(16),
    wire: wire as unknown as Wire,
    send: (frames) => {
      sent.push(frames);
      return Promise.resolve();
    },
    lost: (reason) => lost.push(reason),
  });
  return { link: made, wire, taken, sent, lost };
}

describe('CommandLink', () => {
  it('takes what the same host and what another host passes, without a copy', () => {
    const { link: made, taken, lost } = link();
    const whole = Uint8Array.of(1, 2, 3, 4);
    made.receive([whole, whole.buffer, Buffer.from([5]), new DataView(whole.buffer, 1, 2)]);
    expect(taken.map((bytes) => [...bytes])).toEqual([[1, 2, 3, 4], [1, 2, 3, 4], [5], [2, 3]]);
    expect(taken[0]).toBe(whole);
    expect(taken[1]?.buffer).toBe(whole.buffer);
    expect(lost).toEqual([]);
  });

  it.each([
    ['text', 'x'],
    ['an object', { 0: 1 }],
    ['nothing', undefined],
    ['more than a frame', new Uint8Array(MAX_FRAME + 1)],
  ])('is lost, once, when it gets %s', (_, value) => {
    const { link: made, taken, lost } = link();
    made.receive([value]);
    made.receive([Uint8Array.of(1), value]);
    expect(lost.length).toBe(1);
    expect(taken).toEqual([]);
  });

  it('is lost to a sender that heeds no window', () => {
    const { link: made, wire, lost } = link();
    wire.backlog = 9 << 20;
    made.receive([Uint8Array.of(1)]);
    expect(lost[0]).toContain('more than the helper takes');
  });

  it('sends from its start on, and is silent once closed', () => {
    const { link: made, taken, sent, lost } = link();
    made.push(Uint8Array.of(1));
    expect(sent).toEqual([]);
    made.start();
    expect(sent.length).toBe(1);
    made.close();
    made.push(Uint8Array.of(2));
    made.receive([Uint8Array.of(3), 'x']);
    expect([sent.length, taken, lost]).toEqual([1, [], []]);
  });
});
