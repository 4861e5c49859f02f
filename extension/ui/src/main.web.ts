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
  const platform: Platform = {
    approvals: 'helper',
    async gateway({ port, signal }) {
      const token = (await pairingToken(context.secrets)) ?? (await pairByCode(context.secrets, port, signal));
      return { wire: new WebSocketWire(await openSocket(port, signal)), token };
    },
  };
  app = new App(context, platform);
}

export function deactivate(): Promise<void> | undefined {
  return app?.leave();
}
