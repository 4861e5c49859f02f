// The remote's end of the bare channel, asked over a Unix socket in the
// workspace: /down and /up move frames, /ping asks the other end for answers.
const { randomFillSync } = require('node:crypto');
const { rmSync } = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const vscode = require('vscode');

/** Seconds that it takes to send to the browser. */
async function up(frames, size, inFlight) {
  const pool = randomFillSync(Buffer.alloc(8 << 20));
  const started = performance.now();
  const lanes = Array.from({ length: inFlight }, async (_, lane) => {
    for (let i = lane; i < frames; i += inFlight) {
      const from = (i * size) % (pool.length - size);
      await vscode.commands.executeCommand('_probe.ui.take', new Uint8Array(pool.buffer, pool.byteOffset + from, size));
    }
  });
  await Promise.all(lanes);
  return (performance.now() - started) / 1000;
}

/** Seconds until the browser has sent as much. */
async function down(frames, size, inFlight) {
  const started = performance.now();
  await vscode.commands.executeCommand('_probe.ui.send', frames, size, inFlight);
  return (performance.now() - started) / 1000;
}

/** Milliseconds that each answer takes, one after the other. */
async function ping(count, pause) {
  const took = [];
  for (let i = 0; i < count; i++) {
    const started = performance.now();
    await vscode.commands.executeCommand('_probe.ui.ping');
    took.push(performance.now() - started);
    await sleep(pause);
  }
  return took;
}

exports.activate = (context) => {
  context.subscriptions.push(vscode.commands.registerCommand('_probe.remote.take', () => undefined));
  const ways = { '/up': up, '/down': down, '/ping': ping };
  const server = http.createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url, 'http://probe');
    try {
      const result = await ways[pathname](...searchParams.getAll('n').map(Number));
      response.end(JSON.stringify(result));
    } catch (error) {
      response.writeHead(500).end(String(error));
    }
  });
  const socket = path.join(vscode.workspace.workspaceFolders[0].uri.fsPath, 'probe.sock');
  rmSync(socket, { force: true }); // the host of an earlier window has it
  server.listen(socket);
  context.subscriptions.push({ dispose: () => server.close() });
};
