import * as vscode from 'vscode';

/** Every command that the manifest contributes; a test compares the two. */
export const COMMANDS = [
  'causeway.connect',
  'causeway.disconnect',
  'causeway.addResource',
  'causeway.suggestResources',
  'causeway.editResource',
  'causeway.removeResource',
  'causeway.testResource',
  'causeway.testAll',
  'causeway.newTerminal',
  'causeway.copyAddress',
  'causeway.copyUrl',
  'causeway.copyCommand',
  'causeway.copyProxyAddress',
  'causeway.reviewApprovals',
  'causeway.setProxyCredentials',
  'causeway.showConnections',
  'causeway.showLog',
  'causeway.openSettings',
  'causeway.pairLocalHelper',
  'causeway.pairByToken',
  'causeway.installCompanion',
  'causeway.showActions',
] as const;

export type CommandId = (typeof COMMANDS)[number];

/** One handler per command. Any extension can execute them, with any argument. */
export type Handlers = Record<CommandId, (argument: unknown) => unknown>;

/** Registers all commands. failed tells the user of a handler's error. */
export function registerCommands(handlers: Handlers, failed: (error: unknown) => void): vscode.Disposable {
  return vscode.Disposable.from(
    ...COMMANDS.map((id) =>
      vscode.commands.registerCommand(id, async (argument: unknown) => {
        try {
          await handlers[id](argument);
        } catch (error) {
          failed(error);
        }
      }),
    ),
  );
}
