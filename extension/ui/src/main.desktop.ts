import type * as vscode from 'vscode';
import { parseLogLine } from '../../shared/src/log';
import { helperUnderDevelopment, installHelper, packagedHelper } from '../../shared/src/node/helperFile';
import { HelperProcess } from '../../shared/src/node/helperProcess';
import { App } from './app';
import type { Platform } from './platform';

let app: App | undefined;

export function activate(context: vscode.ExtensionContext): void {
  const platform: Platform = {
    approvals: 'dialog',
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
