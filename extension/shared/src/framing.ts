// The stdio of a helper carries LSP base-protocol messages. Link frames have a
// Content-Type of their own.

/** Bounds for both sides, in bytes. Exceeding one is a protocol error. */
export const MAX_HEADER = 1024;
export const MAX_MESSAGE = 8 << 20;
export const MAX_FRAME = 1 << 20;

const FRAME_TYPE = 'application/octet-stream';
const CR = 13;
const LF = 10;

/** Takes what a FrameDecoder finds. It may keep the bytes. */
export interface DecodedSink {
  message(body: Uint8Array): void;
  frame(bytes: Uint8Array): void;
}

/** The header of a link frame of length bytes. */
export function frameHeader(length: number): Uint8Array {
  return ascii(`Content-Length: ${length}\r\nContent-Type: ${FRAME_TYPE}\r\n\r\n`);
}

/** The header of a JSON message of length bytes. */
export function messageHeader(length: number): Uint8Array {
  return ascii(`Content-Length: ${length}\r\n\r\n`);
}

/**
 * Splits a stream of chunks into messages and frames. A body within one chunk is a
 * view of that chunk; any other body is copied once. The caller must not reuse the
 * chunks. After push has thrown, the stream cannot be decoded any further.
 */
export class FrameDecoder {
  private readonly head = new Uint8Array(MAX_HEADER);
  private headLength = 0;
  private isFrame = false;
  private body: Uint8Array | undefined;
  private filled = 0;

  constructor(private readonly sink: DecodedSink) {}

  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      at = this.body === undefined ? this.readHeader(chunk, at) : this.readBody(chunk, at, this.body);
    }
  }

  private readHeader(chunk: Uint8Array, start: number): number {
    const { head } = this;
    for (let at = start; at < chunk.length; ) {
      if (this.headLength === MAX_HEADER) throw new Error(`header of more than ${MAX_HEADER} bytes`);
      head[this.headLength++] = chunk[at++] as number;
      const n = this.headLength;
      if (head[n - 1] !== LF || head[n - 2] !== CR || head[n - 3] !== LF || head[n - 4] !== CR) continue;
      const { length, isFrame } = parseHeader(head.subarray(0, n - 4));
      this.headLength = 0;
      this.isFrame = isFrame;
      if (chunk.length - at >= length) {
        this.deliver(chunk.subarray(at, at + length));
        return at + length;
      }
      this.body = new Uint8Array(length);
      this.filled = 0;
      return at;
    }
    return chunk.length;
  }

  private readBody(chunk: Uint8Array, start: number, body: Uint8Array): number {
    const part = chunk.subarray(start, start + body.length - this.filled);
    body.set(part, this.filled);
    this.filled += part.length;
    if (this.filled === body.length) {
      this.body = undefined;
      this.deliver(body);
    }
    return start + part.length;
  }

  private deliver(body: Uint8Array): void {
    if (this.isFrame) this.sink.frame(body);
    else this.sink.message(body);
  }
}

function parseHeader(bytes: Uint8Array): { length: number; isFrame: boolean } {
  let length: number | undefined;
  let isFrame = false;
  for (const line of String.fromCharCode(...bytes).split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon < 0) throw new Error('header line without a colon');
    const value = line.slice(colon + 1).trim();
    switch (line.slice(0, colon).trim().toLowerCase()) {
      case 'content-length':
        if (length !== undefined || !/^\d{1,9}$/.test(value)) throw new Error('bad Content-Length');
        length = Number(value);
        break;
      case 'content-type':
        isFrame = value.toLowerCase() === FRAME_TYPE;
        break;
    }
  }
  if (length === undefined) throw new Error('no Content-Length');
  const max = isFrame ? MAX_FRAME : MAX_MESSAGE;
  if (length > max) throw new Error(`${isFrame ? 'frame' : 'message'} of ${length} bytes, at most ${max} allowed`);
  return { length, isFrame };
}

function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
