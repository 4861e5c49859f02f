/** The remote and the workspace that an approval holds for. */
export interface Identity {
  /** Such as "ssh-remote+host". */
  authority: string;
  /** The URI of the workspace or its first folder; empty if there is none. */
  workspace: string;
  /** The names of both for the user. */
  remoteLabel: string;
  workspaceLabel: string;
  /** Whether an approval may outlive the session. It must not if authority stands for every host of its kind. */
  lasting: boolean;
}

interface Folder {
  scheme: string;
  authority: string;
  toString(): string;
}

/**
 * Returns the identity of a window; undefined without a remote. The API reveals
 * the authority only in the URIs of open folders. Without a folder only the kind
 * of remote is known, or the host of a web server.
 */
export function identify(
  remoteName: string | undefined,
  workspaceFile: Folder | undefined,
  folder: Folder | undefined,
  name: string | undefined,
): Identity | undefined {
  if (remoteName === undefined) return undefined;
  const workspace = workspaceFile ?? folder;
  const named = [workspaceFile, folder].find((uri) => uri?.scheme === 'vscode-remote');
  return {
    authority: named?.authority ?? remoteName,
    workspace: workspace?.toString() ?? '',
    remoteLabel: named?.authority ?? remoteName,
    workspaceLabel: name ?? '',
    lasting: named !== undefined || (workspace !== undefined && isAuthority(remoteName)),
  };
}

/**
 * Whether a remote name is the whole authority, such as "code.example:8443": the name of a remote that a web server
 * gives, as code-server does. Other remotes have their kind there, such as "ssh-remote".
 */
const isAuthority = (remoteName: string) => /[.:]/.test(remoteName);
