// The messages in test/protocol have the shapes of our types, and cross the wire
// unchanged. The helper's tests read the same messages.

import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Message } from 'vscode-jsonrpc';
import * as f from '../../../shared/src/flows';
import { Helper } from '../../../shared/src/helper';
import * as p from '../../../shared/src/protocol';
import type { Wire, WireSink } from '../../../shared/src/wire';

const DIR = path.resolve(import.meta.dirname, '../../../../test/protocol');

interface Golden {
  role?: 'gateway' | 'capture';
  method: string;
  notification?: boolean;
  params: unknown;
  result?: unknown;
}

const files = readdirSync(DIR).filter((name) => name.endsWith('.json'));
const golden = new Map<string, Golden>(
  files.map((name) => [name, JSON.parse(readFileSync(path.join(DIR, name), 'utf8')) as Golden]),
);

// A shape names every field of a type, or does not compile.
type Spec = 'string' | 'number' | 'boolean' | 'any' | { list: Spec } | { [field: string]: Spec | Optional };
interface Optional {
  optional: Spec;
}
type Shape<T> = { [K in keyof Required<T>]: Record<never, never> extends Pick<T, K> ? Optional : Spec };
const shape = <T>(fields: Shape<T>): Spec => fields;
const maybe = (spec: Spec): Optional => ({ optional: spec });
const strings: Spec = { list: 'string' };

const problem = shape<p.Problem>({ path: 'string', line: maybe('number'), column: maybe('number'), message: 'string' });
const approval = shape<p.Approval>({
  id: 'string',
  from: 'string',
  name: 'string',
  host: 'string',
  ports: strings,
  protocols: strings,
  addresses: maybe(strings),
  as: maybe('string'),
  exit: maybe('string'),
  programs: maybe(strings),
  description: maybe('string'),
  change: 'string',
  differences: maybe({ list: shape<p.Difference>({ field: 'string', was: 'string', is: 'string' }) }),
  warnings: maybe(strings),
});
const resourcesResult = shape<p.ResourcesResult>({ problems: { list: problem }, approvals: { list: approval } });
const resource = shape<p.ResourceStatus>({
  name: 'string',
  host: 'string',
  ports: strings,
  as: maybe('string'),
  programs: maybe(strings),
  from: 'string',
  state: 'string',
  served: strings,
  address: maybe('string'),
  note: maybe('string'),
  flows: 'number',
  bytesUp: 'number',
  bytesDown: 'number',
  lastError: maybe({ time: 'string', code: 'string', reason: 'string' }),
  clients: maybe({
    list: shape<p.Client>({ user: 'string', pid: maybe('number'), program: maybe('string'), flows: 'number' }),
  }),
  health: maybe(
    shape<p.Health>({
      state: 'string',
      step: maybe('string'),
      detail: maybe('string'),
      hint: maybe('string'),
      millis: maybe('number'),
      since: 'string',
      checked: maybe('string'),
      common: maybe('boolean'),
    }),
  ),
});
const gatewayStatus = shape<p.GatewayStatus>({
  state: 'string',
  reason: maybe('string'),
  since: maybe('string'),
  link: maybe({ kind: 'string', links: maybe('number'), rttMillis: 'number' }),
  flows: 'number',
  bytesUp: 'number',
  bytesDown: 'number',
  proxy: maybe('string'),
  resources: { list: resource },
  notes: maybe(strings),
  trouble: maybe(strings),
});
const captureStatus = shape<p.CaptureStatus>({
  state: 'string',
  reason: maybe('string'),
  proxy: maybe('string'),
  noProxy: maybe(strings),
  notes: maybe(strings),
});
const origin = { way: 'string', user: maybe('string'), pid: maybe('number'), program: maybe('string') } as const;
const flowsDelta = shape<f.FlowsDelta>({
  time: 'string',
  reset: maybe('boolean'),
  link: maybe({ kind: 'string', links: maybe('number'), rttMillis: 'number' }),
  bytesUp: 'number',
  bytesDown: 'number',
  flows: maybe({
    list: shape<f.Flow>({
      ...origin,
      id: 'number',
      began: 'string',
      network: 'string',
      host: 'string',
      port: maybe('number'),
      address: maybe('string'),
      resource: 'string',
      state: 'string',
      code: maybe('string'),
      reason: maybe('string'),
      bytesUp: 'number',
      bytesDown: 'number',
      lookedUp: maybe('number'),
      judged: maybe('number'),
      dialled: maybe('number'),
      firstByte: maybe('number'),
      ended: maybe('number'),
    }),
  }),
  counts: maybe({ list: { list: 'number' } }),
  gone: maybe({ list: 'number' }),
  questions: maybe({
    list: shape<f.Question>({
      ...origin,
      id: 'number',
      time: 'string',
      name: 'string',
      type: 'string',
      answer: 'string',
      ok: 'boolean',
      resource: maybe('string'),
      from: maybe('string'),
      millis: 'number',
    }),
  }),
  refusals: maybe({
    list: shape<f.Refused>({
      ...origin,
      id: 'number',
      time: 'string',
      count: 'number',
      network: 'string',
      host: 'string',
      port: maybe('number'),
      resource: maybe('string'),
      code: 'string',
      reason: 'string',
      waiting: maybe('string'),
    }),
  }),
});
const range = shape<p.Range>({ min: 'number', max: 'number' });
const linkClosed = shape<p.LinkClosed>({ reason: 'string' });
const none: Spec = 'any';

/** The shapes of parameters and result by method; the key has the role if the roles differ. */
const SHAPES: Record<string, [Spec, Spec]> = {
  initialize: [
    shape<p.InitializeParams>({
      protocol: range,
      client: { name: 'string', version: 'string' },
      token: maybe('string'),
    }),
    shape<p.InitializeResult>({
      protocol: 'number',
      helper: shape<p.HelperInfo>({ version: 'string', role: 'string', os: 'string', arch: 'string', pid: 'number' }),
    }),
  ],
  'log/setLevel': [{ level: 'string' }, none],
  'session/close': [none, none],
  'link/open': [shape<p.LinkParams>({ kind: 'string' }), none],
  'capture link/listen': [none, shape<p.DirectLink>({ port: 'number' })],
  'gateway link/dial': [shape<p.DirectLink>({ port: 'number' }), none],
  'link/close': [linkClosed, none],
  'link/closed': [linkClosed, none],
  'gateway session/open': [
    shape<p.GatewayOpenParams>({
      authority: 'string',
      workspace: 'string',
      resources: maybe('any'),
      workspaceResources: maybe('any'),
      exits: maybe('any'),
      credentials: maybe('any'),
      strictProxy: maybe('boolean'),
      fresh: maybe('boolean'),
      resumeOnly: maybe('boolean'),
      resumeSeconds: maybe('number'),
    }),
    shape<p.GatewayOpenResult>({
      session: 'string',
      secret: 'string',
      resumed: maybe('boolean'),
      problems: { list: problem },
      approvals: { list: approval },
    }),
  ],
  'capture session/open': [
    shape<p.CaptureOpenParams>({
      session: 'string',
      secret: 'string',
      resumed: maybe('boolean'),
      resumeSeconds: maybe('number'),
      window: maybe('string'),
      bridges: maybe(strings),
      users: maybe(strings),
      sources: maybe(
        shape<p.Sources>({
          names: maybe('string'),
          dns: maybe('string'),
          tun: maybe('string'),
          proxy: maybe('string'),
        }),
      ),
    }),
    none,
  ],
  'resources/set': [
    shape<p.ResourcesParams>({
      resources: maybe('any'),
      workspaceResources: maybe('any'),
      exits: maybe('any'),
      credentials: maybe('any'),
    }),
    resourcesResult,
  ],
  'approvals/answer': [
    shape<p.ApprovalAnswers>({ answers: { list: { id: 'string', decision: 'string' } } }),
    resourcesResult,
  ],
  'approvals/changed': [resourcesResult, none],
  'resource/test': [
    shape<p.TestParams>({ resource: 'string', port: maybe('number') }),
    shape<p.TestResult>({
      ok: 'boolean',
      steps: {
        list: shape<p.TestStep>({
          step: 'string',
          ok: 'boolean',
          detail: 'string',
          hint: maybe('string'),
          millis: 'number',
        }),
      },
    }),
  ],
  'client/arguments': [
    shape<p.ClientParams>({ resource: 'string', pid: 'number' }),
    shape<p.ClientArguments>({ arguments: 'string' }),
  ],
  'gateway health/check': [none, gatewayStatus],
  'gateway session/status': [none, gatewayStatus],
  'gateway session/statusChanged': [gatewayStatus, none],
  'capture session/status': [none, captureStatus],
  'capture session/statusChanged': [captureStatus, none],
  'gateway flows/subscribe': [none, none],
  'gateway flows/unsubscribe': [none, none],
  'gateway flows/changed': [flowsDelta, none],
  'log/message': [shape<p.LogMessage>({ level: 'string', message: 'string', fields: maybe('any') }), none],
  '$/cancelRequest': [{ id: 'any' }, none],
};

/** Returns every difference between value and spec. */
function faults(value: unknown, spec: Spec, at: string): string[] {
  if (spec === 'any') return [];
  if (typeof spec === 'string') return Object.is(typeof value, spec) ? [] : [`${at} is no ${spec}`];
  if ('list' in spec) {
    if (!Array.isArray(value)) return [`${at} is no list`];
    return value.flatMap((item, i) => faults(item, (spec as { list: Spec }).list, `${at}[${i}]`));
  }
  if (typeof value !== 'object' || value === null) return [`${at} is no object`];
  const fields = spec as Record<string, Spec | Optional>;
  const found = Object.keys(value)
    .filter((name) => !(name in fields))
    .map((name) => `${at}.${name} is in no type`);
  for (const [name, field] of Object.entries(fields)) {
    const optional = typeof field === 'object' && 'optional' in field;
    const item = (value as Record<string, unknown>)[name];
    if (item === undefined && !optional) found.push(`${at}.${name} is missing`);
    if (item !== undefined) found.push(...faults(item, (optional ? field.optional : field) as Spec, `${at}.${name}`));
  }
  return found;
}

const keyOf = ({ role, method }: Golden) => (role ? `${role} ${method}` : method);

describe('golden messages', () => {
  it.each(files)('%s is what the types say', (name) => {
    const message = golden.get(name) as Golden;
    const shapes = SHAPES[keyOf(message)];
    if (shapes === undefined) throw new Error(`${keyOf(message)} is no method of this protocol`);
    expect(faults(message.params, shapes[0], 'params')).toEqual([]);
    if (!message.notification) expect(faults(message.result, shapes[1], 'result')).toEqual([]);
  });

  it('cover every method', () => {
    expect([...golden.values()].map(keyOf).sort()).toEqual(Object.keys(SHAPES).sort());
  });

  it('name every method that is called here', () => {
    const methods = Object.values({ ...p, ...f }).flatMap((value) =>
      typeof value === 'object' && 'method' in value ? [value.method] : [],
    );
    const known = new Set([...golden.values()].map(({ method }) => method));
    expect(methods.filter((method) => !known.has(method))).toEqual([]);
  });
});

class FakeWire implements Wire {
  readonly sent: Record<string, unknown>[] = [];
  readonly exited = Promise.resolve();
  readonly backlog = 0;
  sink: WireSink | undefined;
  open(sink: WireSink): void {
    this.sink = sink;
  }
  sendMessage(message: Message): Promise<void> {
    this.sent.push(JSON.parse(JSON.stringify(message)));
    return Promise.resolve();
  }
  sendFrame(): void {}
  pause(): void {}
  resume(): void {}
  leave(): void {}
  close(): void {}
}

describe('a call', () => {
  const requests = [...golden.values()].filter(({ notification }) => !notification);

  it.each(requests)('of $role $method goes over the wire as the golden message', async ({ method, params, result }) => {
    const wire = new FakeWire();
    const helper = new Helper(wire, { frame: () => {}, ended: () => {} });
    const reply = params === null ? helper.call({ method } as never) : helper.call({ method } as never, params);
    expect(wire.sent).toEqual([
      { jsonrpc: '2.0', id: expect.any(Number), method, ...(params === null ? {} : { params }) },
    ]);
    wire.sink?.message({ jsonrpc: '2.0', id: wire.sent[0]?.id, result } as unknown as Message);
    expect(await reply).toEqual(result);
  });

  it('is cancelled as the golden message says', async () => {
    const wire = new FakeWire();
    const helper = new Helper(wire, { frame: () => {}, ended: () => {} });
    const abort = new AbortController();
    const reply = helper.call(p.TestResource, { resource: 'x' }, abort.signal);
    await Promise.resolve();
    abort.abort();
    await Promise.resolve();
    expect(wire.sent[1]).toMatchObject({ method: golden.get('cancel.json')?.method, params: { id: wire.sent[0]?.id } });
    wire.sink?.message({
      jsonrpc: '2.0',
      id: wire.sent[0]?.id,
      error: { code: p.Code.cancelled, message: 'cancelled' },
    } as unknown as Message);
    await expect(reply).rejects.toMatchObject({ code: p.Code.cancelled });
  });

  it('has its notifications heard', async () => {
    const wire = new FakeWire();
    const helper = new Helper(wire, { frame: () => {}, ended: () => {} });
    const heard = new Promise((resolve) => helper.on(p.Log, resolve));
    const { method, params } = golden.get('log-message.json') as Golden;
    wire.sink?.message({ jsonrpc: '2.0', method, params } as unknown as Message);
    expect(await heard).toEqual(params);
  });
});
