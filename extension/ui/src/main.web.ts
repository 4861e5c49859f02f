import 'vscode-jsonrpc/browser';
import type * as vscode from 'vscode';
import { App } from './app';
import { pairingToken } from './pairing';
import type { Platform } from './platform';
import { openSocket } from './socket';
import { Trouble } from './trouble';

const PAIR = { title: 'Pair…', command: 'causeway.pairLocalHelper' };

let app: App | undefined;

export function activate(context: vscode.ExtensionContext): void {
  const platform: Platform = {
    approvals: 'terminal',
    async gateway({ port, signal }) {
      const token = await pairingToken(context.secrets);
      if (token === undefined) {
        throw new Trouble(
          'In a browser, Causeway works through a helper that you start on this machine: run ' +
            `"causeway gateway --listen 127.0.0.1:${port}" and pair with the token that it prints.`,
          [PAIR],
        );
      }
      return { wire: await openSocket(port, signal), token };
    },
  };
  app = new App(context, platform);
}

export function deactivate(): Promise<void> | undefined {
  return app?.leave();
}
