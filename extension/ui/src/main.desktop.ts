import * as vscode from 'vscode';
import { parseLogLine } from '../../shared/src/log';
import { helperUnderDevelopment, installHelper, packagedHelper } from '../../shared/src/node/helperFile';
import { HelperProcess } from '../../shared/src/node/helperProcess';
import { App } from './app';
import { Forwards } from './forward';
import type { Platform } from './platform';

let app: App | undefined;

/** The editor passes only the context; a test passes the other argument. */
export function activate(context: vscode.ExtensionContext, asExternalUri = vscode.env.asExternalUri): void {
  const platform: Platform = {
    approvals: 'dialog',
    forward: new Forwards((port) => asExternalUri(vscode.Uri.parse(`http://127.0.0.1:${port}`))),
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

export function deactivate(): Promise<void> | undefined {
  return app?.leave();
}
