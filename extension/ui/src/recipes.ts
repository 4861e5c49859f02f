import * as vscode from 'vscode';
import { addResource, type Wish } from './addResource';

type Recipe = vscode.QuickPickItem & { wish: Wish };

/** What the user may want to add: each fills in what is usual for it. */
function recipes(): Recipe[] {
  const { t } = vscode.l10n;
  return [
    { label: `$(add) ${t('Any host and ports')}`, wish: {} },
    { label: `$(database) ${t('PostgreSQL')}`, wish: { ports: '5432' } },
    { label: `$(database) ${t('MySQL or MariaDB')}`, wish: { ports: '3306', example: 'mysql.corp.test' } },
    { label: `$(database) ${t('Redis')}`, wish: { ports: '6379', example: 'redis.corp.test' } },
    {
      label: `$(package) ${t('Package registry')}`,
      description: t('npm, PyPI or Maven'),
      wish: { ports: '443', example: 'npm.corp.test' },
    },
    { label: `$(git-branch) ${t('Git over SSH')}`, wish: { ports: '22', example: 'git.corp.test' } },
    {
      label: `$(key) ${t('License server')}`,
      description: t('FlexNet; add the port of the vendor daemon'),
      wish: { ports: '27000-27009', example: 'license.corp.test' },
    },
    {
      label: `$(globe) ${t('Internal web sites')}`,
      description: t('all names below a domain'),
      wish: { ports: '80, 443', example: '*.apps.corp.test' },
    },
    {
      label: `$(device-desktop) ${t('A service on my machine')}`,
      description: t('at the same port of localhost on the remote'),
      wish: { host: 'localhost', ports: '3000', as: 'localhost' },
    },
    {
      label: `$(debug-alt) ${t('A debug device at my machine')}`,
      description: t('adb; for OpenOCD enter 3333'),
      wish: { host: 'localhost', ports: '5037', as: 'localhost' },
    },
    {
      label: `$(type-hierarchy) ${t('A network')}`,
      description: t('addresses, as a CIDR'),
      wish: { ports: '22, 80, 443', example: '10.20.0.0/16' },
    },
  ];
}

/** Lets the user choose what to add, then asks as addResource does. Nothing is added if the user escapes. */
export async function chooseResource(configuration: vscode.WorkspaceConfiguration): Promise<void> {
  const title = vscode.l10n.t('Add Resource');
  const placeHolder = vscode.l10n.t('What should the remote reach?');
  const recipe = await vscode.window.showQuickPick(recipes(), { title, placeHolder, ignoreFocusOut: true });
  if (recipe !== undefined) await addResource(configuration, recipe.wish);
}
