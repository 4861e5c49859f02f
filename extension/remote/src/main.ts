import * as vscode from 'vscode';
import { REMOTE, UI_FRAMES } from '../../shared/src/bridge';
import { parseLogLine, writeLog } from '../../shared/src/log';
import { helperUnderDevelopment, installHelper, linkHelper, packagedHelper } from '../../shared/src/node/helperFile';
import { HelperProcess } from '../../shared/src/node/helperProcess';
import { errorText } from '../../shared/src/text';
import { Endpoint } from './endpoint';
import { offerPath, ProxyEnvironment } from './environment';
import { unresolved } from './resolve';

let endpoint: Endpoint | undefined;

export function activate(context: vscode.ExtensionContext): void {
  // This comes first: proxy variables that outlive the helper would break every shell.
  const environment = new ProxyEnvironment(context.environmentVariableCollection, process.env);
  const log = vscode.window.createOutputChannel('Causeway Capture', { log: true });
  const { version } = context.extension.packageJSON as { version: string };

  const helper = async () =>
    helperUnderDevelopment(process.env) ??
    (await installHelper(packagedHelper(context.extensionUri.fsPath), context.globalStorageUri.fsPath));
  helper()
    .then((file) => linkHelper(file, context.globalStorageUri.fsPath))
    .then((dir) => offerPath(context.environmentVariableCollection, dir))
    .catch((error: unknown) => log.info(`terminals do not have the command causeway: ${errorText(error)}`));
  const made = new Endpoint({
    version,
    environment,
    async start() {
      return HelperProcess.start({
        command: await helper(),
        args: ['capture', '--stdio'],
        log: (line) => writeLog(log, parseLogLine(line)),
      });
    },
    sendFrames: (link, frames) => vscode.commands.executeCommand(UI_FRAMES, link, ...frames),
    log: (message) => log.info(message),
  });
  endpoint = made;
  context.subscriptions.push(
    log,
    vscode.commands.registerCommand(REMOTE.hello, (hello: unknown) => made.hello(hello)),
    vscode.commands.registerCommand(REMOTE.open, (link: unknown) => made.open(link)),
    vscode.commands.registerCommand(REMOTE.frames, (link: unknown, ...frames: unknown[]) => made.receive(link, frames)),
    vscode.commands.registerCommand(REMOTE.watch, (link: unknown) => made.watch(link)),
    vscode.commands.registerCommand(REMOTE.close, (link: unknown) => made.close(link)),
    vscode.commands.registerCommand(REMOTE.end, (session: unknown) => made.end(session)),
    vscode.commands.registerCommand(REMOTE.unresolved, (hosts: unknown) => unresolved(hosts)),
    vscode.commands.registerCommand(REMOTE.terminal, () => openTerminal(helper)),
  );
}

/** Opens a shell under "causeway run", which also carries connections to addresses. */
async function openTerminal(helper: () => Promise<string>): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'the remote does not run Linux';
  try {
    const shell = vscode.env.shell || process.env.SHELL || '/bin/sh';
    const options = { name: 'Causeway', shellPath: await helper(), shellArgs: ['run', '--', shell] };
    vscode.window.createTerminal({ ...options, iconPath: new vscode.ThemeIcon('plug') }).show();
    return undefined;
  } catch (error) {
    return errorText(error);
  }
}

export function deactivate(): Promise<void> | undefined {
  return endpoint?.dispose();
}
