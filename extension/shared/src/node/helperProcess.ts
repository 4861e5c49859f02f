import 'vscode-jsonrpc/node';
import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import type { Message } from 'vscode-jsonrpc';
import { FrameDecoder, frameHeader, messageHeader } from '../framing';
import { LineSplitter } from '../log';
import { errorText } from '../text';
import type { Wire, WireSink } from '../wire';

const GRACE_MS = 3000;

export interface HelperProcessOptions {
  command: string;
  args: string[];
  /** How long the helper may take to end after its stdin closes, in ms; GRACE_MS by default. */
  graceMs?: number;
  /** Takes the lines of stderr. */
  log: (line: string) => void;
}

/** A helper that runs as our child process; we talk to it over its stdio. */
export class HelperProcess implements Wire {
  private sink: WireSink | undefined;
  private over: string | undefined;
  private killer: ReturnType<typeof setTimeout> | undefined;
  private readonly stdin: Writable;
  private readonly stdout: Readable;
  /** Resolves when the process is gone. */
  readonly exited: Promise<void>;

  private constructor(
    private readonly child: ChildProcess,
    private readonly options: HelperProcessOptions,
  ) {
    const { stdin, stdout, stderr } = child;
    if (!stdin || !stdout || !stderr) throw new Error('start helper: no pipes');
    this.stdin = stdin;
    this.stdout = stdout;
    // Ignore EPIPE: the exit event reports that the helper is gone, with the reason.
    stdin.on('error', () => {});
    const lines = new LineSplitter(options.log);
    stderr.setEncoding('utf8').on('data', (chunk: string) => lines.push(chunk));
    stderr.on('end', () => lines.end());
    this.exited = new Promise((resolve) => {
      // Not 'close': a child of the helper may keep its stderr open for longer.
      child.once('exit', (code, signal) => {
        clearTimeout(this.killer);
        this.finish(signal ? `it was ended by ${signal}` : `it exited with ${code}`);
        resolve();
      });
    });
  }

  /** Starts the helper. Rejects if it cannot be executed. */
  static start(options: HelperProcessOptions): Promise<HelperProcess> {
    return new Promise((resolve, reject) => {
      const child = spawn(options.command, options.args, { stdio: 'pipe', windowsHide: true });
      child.on('error', (error) => reject(new Error(`start ${options.command}: ${errorText(error)}`)));
      child.once('spawn', () => resolve(new HelperProcess(child, options)));
    });
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  open(sink: WireSink): void {
    this.sink = sink;
    if (this.over !== undefined) {
      const reason = this.over;
      queueMicrotask(() => sink.end(reason));
      return;
    }
    const text = new TextDecoder();
    const decoder = new FrameDecoder({
      message: (body) => sink.message(JSON.parse(text.decode(body)) as Message),
      frame: (bytes) => sink.frame(bytes),
    });
    this.stdout.on('data', (chunk: Uint8Array) => {
      if (this.over !== undefined) return;
      try {
        decoder.push(chunk);
      } catch (error) {
        this.finish(`it broke the protocol: ${errorText(error)}`);
        this.close();
      }
    });
  }

  sendMessage(message: Message): Promise<void> {
    if (!this.writable) return Promise.reject(new Error('the helper is gone'));
    const body = new TextEncoder().encode(JSON.stringify(message));
    this.write(messageHeader(body.length), body);
    return Promise.resolve();
  }

  sendFrame(bytes: Uint8Array): void {
    if (this.writable) this.write(frameHeader(bytes.byteLength), bytes);
  }

  private get writable(): boolean {
    return this.over === undefined && this.stdin.writable;
  }

  get backlog(): number {
    return this.stdin.writableLength;
  }

  pause(): void {
    this.stdout.pause();
  }

  resume(): void {
    this.stdout.resume();
  }

  /** Closes the helper's stdin, which ends the helper. If it is still there after the grace period, it is killed. */
  close(): void {
    if (this.killer !== undefined) return;
    this.stdin.end();
    // A paused pipe would keep the process from being reaped. Nobody reads its output any more.
    this.stdout.resume();
    this.killer = setTimeout(() => this.child.kill('SIGKILL'), this.options.graceMs ?? GRACE_MS);
  }

  /** A helper that finds its stdout closed when its stdin ends has lost its driver: its session waits. */
  leave(): void {
    this.stdout.destroy();
    this.close();
  }

  private write(header: Uint8Array, body: Uint8Array): void {
    this.stdin.cork();
    this.stdin.write(header);
    this.stdin.write(body);
    // One system call sends everything that is written before control returns to the event loop.
    process.nextTick(() => this.stdin.uncork());
  }

  private finish(reason: string): void {
    if (this.over !== undefined) return;
    this.over = reason;
    this.sink?.end(reason);
  }
}
