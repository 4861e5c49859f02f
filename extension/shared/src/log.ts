import { LOG_LEVELS, type LogLevel, type LogMessage } from './protocol';
import { plain } from './text';

/** The part of a LogOutputChannel that writes. */
export type LogSink = Record<LogLevel, (message: string) => void>;

const LONGEST = 8 << 10;

/** Reads a line of a helper's stderr: a log message in JSON, or the text of a crash. */
export function parseLogLine(line: string): LogMessage {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch {
    return { level: 'error', message: line };
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return { level: 'error', message: line };
  const { level, message, time: _, ...fields } = parsed as Record<string, unknown>;
  return { level: toLevel(level), message: typeof message === 'string' ? message : '', fields };
}

/** Writes a message of a helper, its fields as key=value. */
export function writeLog(sink: LogSink, { level, message, fields }: LogMessage): void {
  const parts = [message];
  for (const [key, value] of Object.entries(fields ?? {})) {
    parts.push(`${key}=${typeof value === 'string' && /^[^\s"]+$/.test(value) ? value : JSON.stringify(value)}`);
  }
  sink[toLevel(level)](plain(parts.join(' '), LONGEST));
}

/** Splits text into lines. Longer lines than LONGEST characters are cut. */
export class LineSplitter {
  private rest = '';

  constructor(private readonly line: (text: string) => void) {}

  push(chunk: string): void {
    const lines = (this.rest + chunk).split('\n');
    this.rest = lines.pop() ?? '';
    for (const line of lines) if (line.trim() !== '') this.line(line);
    if (this.rest.length > LONGEST) this.end();
  }

  /** Delivers the rest, which has no newline. */
  end(): void {
    const { rest } = this;
    this.rest = '';
    if (rest.trim() !== '') this.line(rest);
  }
}

function toLevel(value: unknown): LogLevel {
  const levels: readonly unknown[] = LOG_LEVELS;
  if (levels.includes(value)) return value as LogLevel;
  return value === 'fatal' || value === 'panic' ? 'error' : 'info';
}
