#!/usr/bin/env node
// A fake helper for tests. It answers the calls of its role and is connected once a
// frame has come over the link. Its first argument is the role. FAKE_HELPER makes it
// misbehave: "deaf" reads nothing, "stay" survives the end of its stdin, "crash" dies
// at session/open, "garbage" breaks the framing, "old" has no version in common with
// us, "gone" has no session to resume, "unreached" finds nothing at a direct link's
// port. Otherwise it resumes every session.
const role = process.argv[2] ?? 'gateway';
const fault = process.env.FAKE_HELPER ?? '';

process.stderr.write(`${JSON.stringify({ level: 'info', time: '2000-01-01T00:00:00Z', message: 'started', role })}\n`);

const approval = {
  id: 'a1',
  from: 'workspace',
  name: 'metrics',
  host: 'metrics.corp.test',
  ports: ['9090'],
  protocols: ['tcp'],
  change: 'new',
};
let linked = false;
let connected = false;
let approvals = [];
let problems = [];

/** Makes an error for a JSON-RPC reply. */
const failure = (code, message) => Object.assign(new Error(message), { code });

function send(header, body) {
  process.stdout.write(Buffer.concat([Buffer.from(`Content-Length: ${body.length}\r\n${header}\r\n`), body]));
}
const sendJson = (message) => send('', Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...message })));
const sendFrame = (bytes) => send('Content-Type: application/octet-stream\r\n', bytes);

function status() {
  const state = connected ? 'connected' : 'waiting';
  if (role === 'capture') return { state, proxy: '127.0.0.1:7750', noProxy: ['orders-db.corp.test'] };
  const resource = { ports: ['5432'], from: 'user', flows: 0, bytesUp: 0, bytesDown: 0 };
  const db = {
    ...resource,
    name: 'orders-db',
    host: 'orders-db.corp.test',
    state: 'ready',
    served: ['orders-db.corp.test:5432'],
  };
  return { state, flows: 0, bytesUp: 0, bytesDown: 0, proxy: '127.0.0.1:7750', resources: [db] };
}

const methods = {
  initialize: ({ protocol }) => {
    if (fault === 'old') throw failure(-32001, `this helper speaks version 0, not ${protocol.min}: update it`);
    return { protocol: 1, helper: { version: '0.1.0', role, os: 'linux', arch: 'amd64', pid: process.pid } };
  },
  'log/setLevel': () => null,
  'session/open': (params) => {
    if (fault === 'crash') process.kill(process.pid, 'SIGKILL');
    if (fault === 'gone' && (params.resumed || params.resumeOnly)) throw failure(-32004, 'no such session');
    if (role === 'capture') {
      process.stderr.write(`opened with ${JSON.stringify([params.sources, params.bridges, params.users])}\n`);
      return null;
    }
    approvals = (params.workspaceResources ?? []).length > 0 ? [approval] : [];
    problems = Array.isArray(params.resources ?? []) ? [] : [{ path: 'resources', message: 'is no list' }];
    return { session: '0123456789abcdef', secret: 'ab'.repeat(32), resumed: params.resumeOnly, problems, approvals };
  },
  'session/close': () => null,
  'link/close': () => null,
  'link/open': () => {
    linked = true;
    return null;
  },
  'link/listen': () => ({ port: 18077 }),
  'link/dial': ({ port }) => {
    if (fault === 'unreached') throw failure(-32000, 'nobody there');
    sendJson({ method: 'log/message', params: { level: 'info', message: `dial ${port}` } });
    return null;
  },
  'session/status': status,
  'approvals/answer': () => {
    approvals = [];
    return { problems, approvals };
  },
  'resources/set': () => ({ problems, approvals }),
  'resource/test': ({ resource }) => ({
    ok: true,
    steps: [{ step: 'connect', ok: true, detail: resource, millis: 1 }],
  }),
};

function onMessage({ id, method, params }) {
  if (id === undefined) return;
  try {
    if (!(method in methods)) throw failure(-32601, `no method ${method}`);
    sendJson({ id, result: methods[method](params) });
    if (method === 'link/open') sendFrame(Buffer.from(`hello from ${role}`));
  } catch (error) {
    sendJson({ id, error: { code: error.code, message: error.message } });
  }
}

function onFrame(bytes) {
  if (!linked) throw new Error('frame before a link');
  if (!connected) {
    connected = true;
    sendJson({ method: 'session/statusChanged', params: status() });
  } else if (role === 'capture') {
    sendFrame(bytes);
  } else {
    sendJson({ method: 'log/message', params: { level: 'info', message: `frame of ${bytes.length}` } });
  }
}

let buffer = Buffer.alloc(0);
function onData(chunk) {
  buffer = Buffer.concat([buffer, chunk]);
  for (;;) {
    const end = buffer.indexOf('\r\n\r\n');
    if (end < 0) return;
    const head = buffer.subarray(0, end).toString();
    const length = Number(/Content-Length: (\d+)/i.exec(head)?.[1]);
    if (buffer.length < end + 4 + length) return;
    const body = buffer.subarray(end + 4, end + 4 + length);
    buffer = buffer.subarray(end + 4 + length);
    if (/octet-stream/.test(head)) onFrame(Buffer.from(body));
    else onMessage(JSON.parse(body.toString()));
  }
}

if (fault === 'garbage') process.stdout.write('HTTP/1.1 400 Bad Request\r\n\r\n');
if (fault !== 'deaf') process.stdin.on('data', onData);
if (fault === 'stay' || fault === 'deaf') setInterval(() => {}, 1000);
else process.stdin.on('end', () => process.exit(0));
