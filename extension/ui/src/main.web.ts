import 'vscode-jsonrpc/browser';
import * as vscode from 'vscode';
import { App } from './app';
import { pairingToken } from './pairing';
import type { Platform } from './platform';
import { openSocket } from './socket';
import { Trouble } from './trouble';

let app: App | undefined;

export function activate(context: vscode.ExtensionContext): void {
  const platform: Platform = {
    approvals: 'terminal',
    async gateway({ port, signal }) {
      const token = await pairingToken(context.secrets);
      if (token === undefined) {
        throw new Trouble(
          vscode.l10n.t(
            'In a browser Causeway needs a helper on your machine. Run "causeway gateway --listen 127.0.0.1:{0}" there, then pair with the token that it prints.',
            port,
          ),
          [{ title: vscode.l10n.t('Pair…'), command: 'causeway.pairLocalHelper' }],
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
