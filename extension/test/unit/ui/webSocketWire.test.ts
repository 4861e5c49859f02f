import { describe, expect, it } from 'vitest';
import { WebSocketWire } from '../../../ui/src/webSocketWire';

class FakeSocket {
  readonly sent: unknown[] = [];
  readyState = 1;
  bufferedAmount = 7;
  closed = false;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onerror: unknown = null;
  send(data: unknown): void {
    this.sent.push(data);
  }
  close(): void {
    this.closed = true;
  }
  receive(data: unknown): void {
    this.onmessage?.({ data });
  }
}

function open() {
  const socket = new FakeSocket();
  const wire = new WebSocketWire(socket as never);
  const seen: unknown[] = [];
  const start = () =>
    wire.open({
      message: (message) => seen.push(message),
      frame: (bytes) => seen.push([...bytes]),
      end: (reason) => seen.push(reason),
    });
  return { socket, wire, seen, start };
}
const buffer = (...bytes: number[]) => Uint8Array.from(bytes).buffer;

describe('WebSocketWire', () => {
  it('tells messages from frames, and keeps what came early, in order', () => {
    const { socket, seen, start } = open();
    socket.receive('{"jsonrpc":"2.0","id":1}');
    socket.receive(buffer(1, 2));
    start();
    socket.receive(buffer());
    expect(seen).toEqual([{ jsonrpc: '2.0', id: 1 }, [1, 2], []]);
  });

  it('sends text for messages and bytes for frames', async () => {
    const { socket, wire, start } = open();
    start();
    await wire.sendMessage({ jsonrpc: '2.0' });
    wire.sendFrame(Uint8Array.of(3));
    expect(socket.sent).toEqual(['{"jsonrpc":"2.0"}', Uint8Array.of(3)]);
    expect(wire.backlog).toBe(7);
  });

  it('tells of its end once, with the reason, and sends nothing more', async () => {
    const { socket, wire, seen, start } = open();
    start();
    socket.onclose?.({ code: 1006, reason: '' });
    socket.receive(buffer(1));
    await wire.exited;
    await expect(wire.sendMessage({ jsonrpc: '2.0' })).rejects.toThrow('gone');
    wire.sendFrame(Uint8Array.of(1));
    expect(seen).toEqual(['the socket to it has closed (1006)']);
    expect(socket.sent).toEqual([]);
  });

  it('tells of an end that came before anyone listened', async () => {
    const { socket, seen, start } = open();
    socket.onclose?.({ code: 1000, reason: 'another window' });
    start();
    await Promise.resolve();
    expect(seen).toEqual(['another window']);
  });

  it('closes on text that is no JSON', () => {
    const { socket, seen, start } = open();
    start();
    socket.receive('{');
    expect([seen, socket.closed]).toEqual([['it broke the protocol'], true]);
  });
});
