import { describe, expect, it } from 'vitest';
import { FrameDecoder, frameHeader, MAX_FRAME, MAX_HEADER, messageHeader } from '../../../shared/src/framing';

type Item = ['message' | 'frame', Uint8Array];

const bytes = (text: string) => new TextEncoder().encode(text);
const join = (...parts: Uint8Array[]) => new Uint8Array(Buffer.concat(parts));
const message = (text: string) => join(messageHeader(bytes(text).length), bytes(text));
const frame = (body: Uint8Array) => join(frameHeader(body.length), body);

function decode(chunks: Uint8Array[]): Item[] {
  const items: Item[] = [];
  const decoder = new FrameDecoder({
    message: (body) => items.push(['message', Uint8Array.from(body)]),
    frame: (body) => items.push(['frame', Uint8Array.from(body)]),
  });
  for (const chunk of chunks) decoder.push(chunk);
  return items;
}

const binary = Uint8Array.from({ length: 300 }, (_, i) => i % 256);
const wanted: Item[] = [
  ['message', bytes('{"jsonrpc":"2.0","method":"ä"}')],
  ['frame', binary],
  ['frame', new Uint8Array(0)],
  ['frame', bytes('Content-Length: 3\r\n\r\n')],
  ['message', bytes('{}')],
];
const stream = join(
  ...wanted.map(([kind, body]) => (kind === 'frame' ? frame(body) : join(messageHeader(body.length), body))),
);

describe('FrameDecoder', () => {
  it('finds messages and frames in one chunk', () => {
    expect(decode([stream])).toEqual(wanted);
  });

  it('does so however the stream is cut in two', () => {
    for (let at = 0; at <= stream.length; at++) {
      expect(decode([stream.subarray(0, at), stream.subarray(at)])).toEqual(wanted);
    }
  });

  it('does so byte by byte, and in chunks of every size', () => {
    for (let size = 1; size < 70; size++) {
      const chunks = [];
      for (let at = 0; at < stream.length; at += size) chunks.push(stream.subarray(at, at + size));
      expect(decode(chunks)).toEqual(wanted);
    }
  });

  it('does not copy a body that lies within a chunk', () => {
    const chunk = frame(binary);
    const seen: Uint8Array[] = [];
    new FrameDecoder({ message: () => {}, frame: (body) => seen.push(body) }).push(chunk);
    expect(seen[0]?.buffer).toBe(chunk.buffer);
  });

  it('takes header names in any case, and other headers', () => {
    expect(
      decode([bytes('content-length: 2\r\nX-More: a: b\r\nCONTENT-TYPE: Application/Octet-Stream\r\n\r\nab')]),
    ).toEqual([['frame', bytes('ab')]]);
  });

  it.each([
    ['no length', 'Content-Type: application/octet-stream\r\n\r\n'],
    ['a negative length', 'Content-Length: -1\r\n\r\n'],
    ['a length that is no number', 'Content-Length: 1e3\r\n\r\n'],
    ['two lengths', 'Content-Length: 1\r\nContent-Length: 1\r\n\r\n'],
    ['an endless header', 'x'.repeat(MAX_HEADER + 1)],
    ['a line without a colon', 'HTTP/1.1 400\r\n\r\n'],
    ['a frame that is too long', `Content-Length: ${MAX_FRAME + 1}\r\nContent-Type: application/octet-stream\r\n\r\n`],
    ['a message that is too long', 'Content-Length: 999999999\r\n\r\n'],
  ])('refuses %s', (_, text) => {
    expect(() => decode([bytes(text)])).toThrow();
    expect(() => decode([...bytes(text)].map((byte) => Uint8Array.of(byte)))).toThrow();
  });

  it('survives noise: it throws or waits, and holds no more than its bounds', () => {
    let seed = 1;
    const random = () => {
      seed = (seed * 48271) % 2147483647;
      return seed;
    };
    for (let round = 0; round < 500; round++) {
      const noisy = Uint8Array.from(stream);
      for (let n = random() % 5; n >= 0; n--) noisy[random() % noisy.length] = random() % 256;
      try {
        decode([noisy.subarray(0, random() % noisy.length), noisy]);
      } catch (error) {
        expect(error).toBeInstanceOf(Error);
      }
    }
  });

  it('reads what messageHeader announces', () => {
    expect(decode([message('"ö"')])).toEqual([['message', bytes('"ö"')]]);
  });
});
