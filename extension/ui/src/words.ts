// Words that several texts of the user interface share.
import { l10n } from 'vscode';

export const flows = (n: number): string => (n === 1 ? l10n.t('1 flow') : l10n.t('{0} flows', n));

export const resources = (n: number): string => (n === 1 ? l10n.t('1 resource') : l10n.t('{0} resources', n));

/** A time of Date.now as hours and minutes. */
export const clock = (time: number): string =>
  new Date(time).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });

/** Like clock, with the date if it is not today. */
export const moment = (time: number): string => {
  const date = new Date(time);
  if (date.toDateString() === new Date().toDateString()) return clock(time);
  return date.toLocaleString([], { dateStyle: 'short', timeStyle: 'short' });
};
