// The entry of the test build of the UI extension: the desktop's bundle as shipped,
// except that the lab forwards ports in place of the editor.
'use strict';
const http = require('node:http');
const { Uri } = require('vscode');
// @ts-ignore: only the package has it beside this file
const desktop = require('./desktop.js');

/** @param {import('vscode').ExtensionContext} context */
exports.activate = (context) => desktop.activate(context, asExternalUri);
exports.deactivate = () => desktop.deactivate();

/** @param {import('vscode').Uri} uri */
async function asExternalUri(uri) {
  const [, port] = /:(\d+)$/.exec(uri.authority) ?? [];
  const options = { socketPath: process.env.CAUSEWAY_LAB_FORWARD, method: 'POST', path: `/open?port=${port}` };
  const answer = await new Promise((resolve, reject) => http.request(options, resolve).on('error', reject).end());
  let text = '';
  for await (const part of answer) text += part;
  if (answer.statusCode !== 200) throw new Error(text);
  return Uri.parse(text);
}
