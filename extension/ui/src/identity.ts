/** Which remote and which workspace approvals are kept for. */
export interface Identity {
  /** Such as "ssh-remote+host". */
  authority: string;
  /** The URI of the workspace or its first folder; empty if there is none. */
  workspace: string;
  /** For a person: which remote, which workspace. */
  remoteLabel: string;
  workspaceLabel: string;
  /** Whether an approval may outlive the session: not if authority stands for every host of its kind. */
  lasting: boolean;
}

interface Folder {
  scheme: string;
  authority: string;
  toString(): string;
}

/**
 * The identity of a window. The API tells a window's authority only by the URIs
 * of what is open in it, and without those only the kind of remote.
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
    lasting: workspace !== undefined,
  };
}
