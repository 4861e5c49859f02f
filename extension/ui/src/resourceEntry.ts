// What the guided input accepts. The gateway judges again, and strictly: this
// only saves a round trip for what is plainly wrong.

export interface Entry {
  host: string;
  ports: (number | string)[];
  as?: string;
}

const LABEL = /^[\p{L}\p{N}_]([\p{L}\p{N}_-]*[\p{L}\p{N}_])?$/u;

export function hostMistake(text: string): string | undefined {
  const host = text.trim();
  if (host === '') return 'A host is needed.';
  if (/[\s/@]/.test(host) && !isCidr(host)) return 'A host only: no scheme, no path, no user, no spaces.';
  if (isCidr(host) || /^[0-9a-f:.]*:[0-9a-f:.]*$/i.test(host)) return undefined;
  if (host.includes(':')) return 'The port comes next.';
  return isName(host.replace(/^\*\./, '')) ? undefined : 'That is no host name, address, CIDR or *.domain.';
}

export function portsMistake(text: string): string | undefined {
  const parts = split(text);
  if (parts.length === 0) return 'At least one port is needed.';
  for (const part of parts) {
    const numbers = /^(\d{1,5})(?:([-:])(\d{1,5}))?$/.exec(part);
    const [first, last] = [Number(numbers?.[1]), Number(numbers?.[3] ?? numbers?.[1])];
    if (!numbers || first < 1 || last < 1 || first > 65535 || last > 65535) {
      return `"${part}" is no port, range (8000-8010) or map (15432:5432).`;
    }
    if (numbers[2] === '-' && first > last) return `"${part}" ends before it begins.`;
  }
  return undefined;
}

export function nameMistake(text: string): string | undefined {
  const name = text.trim();
  if (!isName(name) || !name.includes('.'))
    return 'A host name with a dot is needed, such as laptop.causeway.internal.';
  return undefined;
}

export function isLocalhost(host: string): boolean {
  return /^(localhost|127\.\d+\.\d+\.\d+|::1)\.?$/i.test(host.trim());
}

export function entryOf(host: string, ports: string, as: string): Entry {
  const list = split(ports).map((part) => (/^\d+$/.test(part) ? Number(part) : part));
  return { host: host.trim(), ports: list, ...(as.trim() === '' ? {} : { as: as.trim() }) };
}

function split(text: string): string[] {
  return text.split(/[\s,]+/).filter((part) => part !== '');
}

function isCidr(host: string): boolean {
  return /^[0-9a-f:.]+\/\d{1,3}$/i.test(host);
}

function isName(name: string): boolean {
  const labels = name.replace(/\.$/, '').split('.');
  return name.length <= 253 && labels.every((label) => label.length <= 63 && LABEL.test(label));
}
