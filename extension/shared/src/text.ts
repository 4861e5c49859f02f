// Text for people. Text from the remote or from a workspace may be made to
// mislead, so control and direction characters are made visible.

// biome-ignore lint/suspicious/noControlCharactersInRegex: this pattern finds control characters
const INVISIBLE = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** Returns text on one line, at most max characters, with its invisible characters escaped. */
export function plain(text: string, max = 300): string {
  const cut = text.length > max ? `${text.slice(0, max - 1)}…` : text;
  return cut.replace(INVISIBLE, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Returns text for a place that renders Markdown and must show it literally. */
export function markdown(text: string, max = 300): string {
  return plain(text, max).replace(/[\\`*_{}[\]()#+\-.!|<>~&$:@]/g, '\\$&');
}

/** Returns text for a notification, in which the editor renders [label](command:…) as a link that executes a command. */
export function notice(text: string): string {
  return text.replaceAll('](', '] (');
}

/** Returns the text of anything that was thrown. */
export function errorText(error: unknown): string {
  return plain(error instanceof Error ? error.message : String(error));
}

/** Returns text as a sentence: with a capital letter at its start and a mark at its end. */
export function sentence(text: string, max?: number): string {
  const line = plain(text.trim(), max);
  const whole = `${line.charAt(0).toUpperCase()}${line.slice(1)}`;
  return /[.!?…]$/.test(whole) ? whole : `${whole}.`;
}

/** "1 flow", "2 flows". */
export function count(n: number, word: string): string {
  return `${n} ${word}${n === 1 ? '' : 's'}`;
}

/** "0 B", "1.5 KiB", "12 MiB". */
export function bytes(n: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let value = n;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit > 0 && value < 10 ? value.toFixed(1) : Math.floor(value)} ${units[unit]}`;
}
