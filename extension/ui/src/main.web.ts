import 'vscode-jsonrpc/browser';
import type * as vscode from 'vscode';
import { App } from './app';
import { pairByCode } from './pairByCode';
import { pairingToken } from './pairing';
import type { Platform } from './platform';
import { openSocket } from './socket';
import { WebSocketWire } from './webSocketWire';

let app: App | undefined;

export function activate(context: vscode.ExtensionContext): void {
  let anew = false;
  const platform: Platform = {
    approvals: 'helper',
    pairAnew() {
      anew = true;
    },
    async gateway({ port, signal }) {
      const known = anew ? undefined : await pairingToken(context.secrets);
      anew = false;
      // The new token replaces the old one, which stays if the user does not pair.
      const token = known ?? (await pairByCode(context.secrets, port, signal));
      return { wire: new WebSocketWire(await openSocket(port, signal)), token };
    },
  };
  app = new App(context, platform);
}

export function deactivate(): Promise<void> | undefined {
  return app?.leave();
}
