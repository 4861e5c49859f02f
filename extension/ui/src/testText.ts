import type { TestResult } from '../../shared/src/protocol';
import { plain } from '../../shared/src/text';

/** What a test found, in one sentence. */
export function outcome(resource: string, { ok, steps }: TestResult): string {
  const last = steps.at(-1);
  if (ok) return `${plain(resource)} can be reached: ${plain(last?.detail ?? 'every step succeeded')}`;
  const hint = last?.hint ? ` ${plain(last.hint)}` : '';
  return `${plain(resource)} cannot be reached: ${plain(last?.step ?? 'test')}: ${plain(last?.detail ?? 'failed')}.${hint}`;
}

/** What a test found, step by step. */
export function reportText(resource: string, { ok, steps }: TestResult): string {
  const lines = [`Test of ${plain(resource)}: ${ok ? 'it can be reached' : 'it cannot be reached'}`, ''];
  for (const step of steps) {
    const millis = step.millis < 1 ? '<1' : String(Math.round(step.millis));
    lines.push(`${step.ok ? '✓' : '✗'} ${plain(step.step).padEnd(10)} ${millis.padStart(6)} ms  ${plain(step.detail)}`);
    if (step.hint) lines.push(`  ${' '.repeat(20)} → ${plain(step.hint)}`);
  }
  return `${lines.join('\n')}\n`;
}
