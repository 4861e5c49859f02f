// Checks of the guided input. The gateway checks again, and more strictly: these
// only find obvious mistakes while the user types.

export interface Entry {
  host: string;
  ports: (number | string)[];
  as?: string;
}

const LABEL = /^[\p{L}\p{N}_]([\p{L}\p{N}_-]*[\p{L}\p{N}_])?$/u;

export function hostMistake(text: string): string | undefined {
  const host = text.trim();
  if (host === '') return 'Enter a host.';
  if (/[\s/@]/.test(host) && !isCidr(host)) return 'Enter only the host: no scheme, path, user or spaces.';
  if (isCidr(host) || /^[0-9a-f:.]*:[0-9a-f:.]*$/i.test(host)) return undefined;
  if (host.includes(':')) return 'Enter the host without a port. The next step asks for ports.';
  return isName(host.replace(/^\*\./, '')) ? undefined : 'This is not a host name, an address, a CIDR or *.domain.';
}

export function portsMistake(text: string): string | undefined {
  const parts = split(text);
  if (parts.length === 0) return 'Enter at least one port.';
  for (const part of parts) {
    const numbers = /^(\d{1,5})(?:([-:])(\d{1,5}))?$/.exec(part);
    const [first, last] = [Number(numbers?.[1]), Number(numbers?.[3] ?? numbers?.[1])];
    if (!numbers || first < 1 || last < 1 || first > 65535 || last > 65535) {
      return `"${part}" is not a port (5432), a range (8000-8010) or a mapping (15432:5432).`;
    }
    if (numbers[2] === '-' && first > last) return `The range "${part}" ends before it begins.`;
  }
  return undefined;
}

export function nameMistake(text: string): string | undefined {
  const name = text.trim();
  if (/^localhost\.?$/i.test(name)) return undefined;
  if (!isName(name) || !name.includes('.')) {
    return 'Enter localhost, or a host name with a dot, such as laptop.causeway.internal.';
  }
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
