// Where an entry stands in the text of a settings file.
import { findNodeAtLocation, type JSONPath, type Node, parseTree } from 'jsonc-parser';

/** A part of a text: its first character, and the number of characters. */
export interface Span {
  offset: number;
  length: number;
}

/** Returns the path of a gateway's problem in the settings: "resources[2].ports[0]" becomes causeway.resources, 2, ports, 0. */
export function settingsPath(path: string): JSONPath {
  const whole = path === '' ? 'causeway.resources' : path.startsWith('causeway.') ? path : `causeway.${path}`;
  const [key = ''] = /^causeway\.\w+/.exec(whole) ?? [];
  const rest = [...whole.slice(key.length).matchAll(/\[(\d+)\]|\["([^"]*)"\]|\.?([^.[\]]+)/g)];
  return [
    key,
    ...rest.map(([, index, quoted, name]) => (index === undefined ? (quoted ?? name ?? '') : Number(index))),
  ];
}

/**
 * Returns the span of the value at path, or of the nearest value around it; undefined if the text does not set
 * the first name of path. In a workspace file the settings stand below "settings".
 */
export function locate(text: string, path: JSONPath): Span | undefined {
  const root = parseTree(text);
  if (root === undefined) return undefined;
  for (const prefix of [[], ['settings']]) {
    for (let length = path.length; length > 0; length--) {
      const node = findNodeAtLocation(root, [...prefix, ...path.slice(0, length)]);
      if (node !== undefined) return span(node);
    }
  }
  return undefined;
}

/** Returns the span of the resource called name in a list of the settings, or of the list; undefined if there is neither. */
export function locateResource(text: string, setting: string, name: string): Span | undefined {
  const root = parseTree(text);
  if (root === undefined) return undefined;
  const list = findNodeAtLocation(root, [setting]) ?? findNodeAtLocation(root, ['settings', setting]);
  const entry = list?.children?.find((node) => nameOf((key) => findNodeAtLocation(node, [key])?.value) === name);
  return list && span(entry ?? list);
}

/** Returns the name that the gateway gives to an entry of a list. */
export function entryName(entry: unknown): string | undefined {
  return typeof entry === 'object' && entry !== null
    ? nameOf((key) => (entry as Record<string, unknown>)[key])
    : undefined;
}

function nameOf(field: (key: string) => unknown): string | undefined {
  const name = ['name', 'as', 'host'].map(field).find((value) => typeof value === 'string' && value !== '');
  return name as string | undefined;
}

function span({ offset, length }: Node): Span {
  return { offset, length };
}
