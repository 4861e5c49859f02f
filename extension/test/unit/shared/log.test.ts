import { describe, expect, it } from 'vitest';
import { LineSplitter, parseLogLine, writeLog } from '../../../shared/src/log';
import { LOG_LEVELS, type LogMessage } from '../../../shared/src/protocol';

function written(message: LogMessage): string[] {
  const lines: string[] = [];
  const sink = Object.fromEntries(LOG_LEVELS.map((level) => [level, (text: string) => lines.push(`${level} ${text}`)]));
  writeLog(sink as never, message);
  return lines;
}

describe('the log of a helper', () => {
  it('keeps level, message and fields', () => {
    const line = '{"level":"warn","time":"2026-01-01T00:00:00Z","message":"flow refused","resource":"a b","port":22}';
    expect(written(parseLogLine(line))).toEqual(['warn flow refused resource="a b" port=22']);
  });

  it('shows what is no JSON as an error, such as a crash', () => {
    expect(written(parseLogLine('panic: runtime error'))).toEqual(['error panic: runtime error']);
    expect(written(parseLogLine('[1]'))).toEqual(['error [1]']);
    expect(written(parseLogLine('{"level":"fatal","message":7}'))).toEqual(['error ']);
  });

  it('cannot forge lines', () => {
    expect(written({ level: 'info', message: 'a\n[error] b\u202e' })).toEqual(['info a\\u000a[error] b\\u202e']);
    expect(written({ level: 'shout' as never, message: 'x' })).toEqual(['info x']);
  });
});

describe('LineSplitter', () => {
  it('finds lines however the text is cut', () => {
    const text = 'one\n\ntwo\r\nthree';
    for (let size = 1; size <= text.length; size++) {
      const lines: string[] = [];
      const splitter = new LineSplitter((line) => lines.push(line.trim()));
      for (let at = 0; at < text.length; at += size) splitter.push(text.slice(at, at + size));
      splitter.end();
      expect(lines).toEqual(['one', 'two', 'three']);
    }
  });

  it('does not hold a line without end', () => {
    const lines: string[] = [];
    const splitter = new LineSplitter((line) => lines.push(line));
    for (let i = 0; i < 100; i++) splitter.push('x'.repeat(1000));
    expect(lines.length).toBeGreaterThan(5);
  });
});
