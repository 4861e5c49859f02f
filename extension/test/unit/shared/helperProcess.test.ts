import { existsSync } from 'node:fs';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { Helper } from '../../../shared/src/helper';
import { HelperProcess } from '../../../shared/src/node/helperProcess';
import { GatewayOpen, GetGatewayStatus, LinkOpen } from '../../../shared/src/protocol';

const FAKE = path.resolve(import.meta.dirname, '../../fakeHelper.mjs');
const started: HelperProcess[] = [];

/** Starts a fake helper and records everything it sends. */
async function start(fault = '', graceMs = 300) {
  const lines: string[] = [];
  const frames: Uint8Array[] = [];
  let ended: (reason: string) => void;
  const end = new Promise<string>((resolve) => {
    ended = resolve;
  });
  process.env.FAKE_HELPER = fault;
  const wire = await HelperProcess.start({
    command: process.execPath,
    args: [FAKE, 'gateway'],
    graceMs,
    log: (line) => lines.push(line),
  });
  started.push(wire);
  const helper = new Helper(wire, { frame: (bytes) => frames.push(bytes), ended: (reason) => ended(reason) });
  return { wire, helper, lines, frames, end };
}

function runs(pid: number | undefined): boolean {
  return existsSync(`/proc/${pid}/fd`);
}

afterEach(async () => {
  delete process.env.FAKE_HELPER;
  for (const wire of started.splice(0)) {
    wire.close();
    await wire.exited;
  }
});

describe('HelperProcess', () => {
  it('carries calls, frames and the log', async () => {
    const { wire, helper, lines, frames } = await start();
    const { helper: info } = await helper.initialize({ name: 'test', version: '0' });
    expect(info).toMatchObject({ role: 'gateway', pid: wire.pid });
    const opened = await helper.call(GatewayOpen, { authority: 'a', workspace: '' });
    expect(opened.secret).toHaveLength(64);
    await helper.call(LinkOpen, { kind: 'command' });
    wire.sendFrame(new Uint8Array(256 << 10));
    expect(await helper.call(GetGatewayStatus)).toMatchObject({ state: 'connected' });
    expect(frames.map((frame) => Buffer.from(frame).toString())).toEqual(['hello from gateway']);
    expect(lines[0]).toContain('"message":"started"');
  });

  it('ends with its stdin, and tells nobody who closed it himself', async () => {
    const { wire, helper, end } = await start('', 60_000);
    await helper.initialize({ name: 'test', version: '0' });
    let told = false;
    void end.then(() => {
      told = true;
    });
    await helper.close();
    expect(told).toBe(false);
    expect(runs(wire.pid)).toBe(false);
  });

  it('is killed when it stays', async () => {
    const { wire, helper } = await start('stay');
    await helper.initialize({ name: 'test', version: '0' });
    const before = Date.now();
    await helper.close();
    expect(Date.now() - before).toBeGreaterThan(290);
    expect(runs(wire.pid)).toBe(false);
  });

  it('tells when it dies, and pending calls reject', async () => {
    const { helper, end } = await start('crash');
    await helper.initialize({ name: 'test', version: '0' });
    await expect(helper.call(GatewayOpen, { authority: 'a', workspace: '' })).rejects.toThrow('SIGKILL');
    expect(await end).toContain('SIGKILL');
    await expect(helper.call(GetGatewayStatus)).rejects.toThrow('the helper is gone');
  });

  it('is ended when it breaks the protocol', async () => {
    const { wire, end } = await start('garbage');
    expect(await end).toContain('broke the protocol');
    await wire.exited;
  });

  it('passes on why the versions do not meet', async () => {
    const { helper } = await start('old');
    await expect(helper.initialize({ name: 'test', version: '0' })).rejects.toThrow('update it');
  });

  it('counts what a helper that reads nothing has not taken', async () => {
    const { wire } = await start('deaf');
    for (let i = 0; i < 16; i++) wire.sendFrame(new Uint8Array(256 << 10));
    expect(wire.backlog).toBeGreaterThan(3 << 20);
  });

  it('cannot be started where there is none', async () => {
    await expect(HelperProcess.start({ command: '/nonexistent/causeway', args: [], log: () => {} })).rejects.toThrow(
      'start /nonexistent/causeway',
    );
  });
});
