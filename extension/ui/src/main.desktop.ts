import * as vscode from 'vscode';
import { parseLogLine } from '../../shared/src/log';
import { helperUnderDevelopment, installHelper, packagedHelper } from '../../shared/src/node/helperFile';
import { HelperProcess } from '../../shared/src/node/helperProcess';
import { App } from './app';
import { localPort } from './forward';
import type { Forwarded, Platform } from './platform';

let app: App | undefined;

/** forward is the editor's unless a test stands in for it. */
export function activate(context: vscode.ExtensionContext, forward = forwardByEditor): void {
  const platform: Platform = {
    approvals: 'dialog',
    forward,
    async gateway({ log, signal }) {
      const command =
        helperUnderDevelopment(process.env) ??
        (await installHelper(packagedHelper(context.extensionUri.fsPath), context.globalStorageUri.fsPath));
      signal.throwIfAborted();
      const wire = await HelperProcess.start({
        command,
        args: ['gateway', '--stdio'],
        log: (line) => log(parseLogLine(line)),
      });
      return { wire };
    },
  };
  app = new App(context, platform);
}

async function forwardByEditor(port: number): Promise<Forwarded> {
  return localPort(await vscode.env.asExternalUri(vscode.Uri.parse(`http://127.0.0.1:${port}`)));
}

export function deactivate(): Promise<void> | undefined {
  return app?.leave();
}
