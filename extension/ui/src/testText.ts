import { l10n } from 'vscode';
import type { GatewayStatus, TestResult } from '../../shared/src/protocol';
import { notice, plain, sentence } from '../../shared/src/text';

/** Returns the result of a test for a notification. */
export function outcome(resource: string, { ok, steps }: TestResult): string {
  const last = steps.at(-1);
  const name = plain(resource);
  const detail = sentence(last?.detail ?? '');
  if (ok) return notice(`${l10n.t('{0} can be reached.', name)} ${detail === '.' ? '' : detail}`.trim());
  const hint = last?.hint ? ` ${sentence(last.hint)}` : '';
  const failed = l10n.t('{0} cannot be reached: the step "{1}" failed.', name, plain(last?.step ?? ''));
  return notice(`${failed} ${detail}${hint}`);
}

/** Returns the result of a test of all resources, and whether all work that a test can tell about. */
export function allOutcome({ resources, trouble }: GatewayStatus): { ok: boolean; text: string } {
  const tested = resources.filter(({ health }) => health !== undefined && health.state !== 'unknown');
  const failed = tested.filter(({ health }) => health?.state === 'fails');
  if (tested.length === 0) return { ok: true, text: l10n.t('Causeway has no resource that a test could tell about.') };
  if (failed.length === 0)
    return {
      ok: true,
      text:
        tested.length === 1
          ? l10n.t('The one resource that could be tested works.')
          : l10n.t('All {0} resources that could be tested work.', tested.length),
    };
  const names = failed.slice(0, 5).map(({ name }) => plain(name, 80));
  const list = failed.length > names.length ? [...names, '…'] : names;
  const text =
    failed.length === 1
      ? l10n.t('1 of {0} tested resources does not work: {1}.', tested.length, list.join(', '))
      : l10n.t('{0} of {1} tested resources do not work: {2}.', failed.length, tested.length, list.join(', '));
  return { ok: false, text: notice([text, ...(trouble ?? []).map((line) => plain(line))].join(' ')) };
}

/** Returns the result of a test, step by step. */
export function reportText(resource: string, { ok, steps }: TestResult): string {
  const lines = [
    ok
      ? l10n.t('Test of {0}: it can be reached', plain(resource))
      : l10n.t('Test of {0}: it cannot be reached', plain(resource)),
    '',
  ];
  for (const step of steps) {
    const millis = step.millis < 1 ? '<1' : String(Math.round(step.millis));
    lines.push(`${step.ok ? '✓' : '✗'} ${plain(step.step).padEnd(10)} ${millis.padStart(6)} ms  ${plain(step.detail)}`);
    if (step.hint) lines.push(`  ${' '.repeat(20)} → ${plain(step.hint)}`);
  }
  return `${lines.join('\n')}\n`;
}
