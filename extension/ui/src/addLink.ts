import * as vscode from 'vscode';
import { addResource, type Wish } from './addResource';
import { hostMistake, portsMistake } from './resourceEntry';
import { Trouble } from './trouble';

const MOST_QUERY = 1_000;
const MOST_HOST = 255;
const MOST_PORTS = 200;

/**
 * Handles links such as vscode://causeway-dev.causeway/add?host=db.corp.test&ports=5432. Any web page and any program
 * can open one, so a link only fills in the boxes of Add Resource: the user goes through each, and the gateway asks
 * for approval afterwards. While the boxes of one link are open, Causeway ignores other links and says so.
 */
export class AddLinks implements vscode.UriHandler {
  private open = false;

  constructor(
    private readonly configuration: () => vscode.WorkspaceConfiguration,
    private readonly failed: (error: unknown) => void,
  ) {}

  /** Resolves when the user has finished with the boxes, and the setting is stored. Never rejects. */
  async handleUri({ path, query }: { path: string; query: string }): Promise<void> {
    if (this.open) {
      this.failed(
        new Trouble(
          vscode.l10n.t(
            'Causeway ignored a link, because the boxes of another one are open. Finish those, then open it again.',
          ),
        ),
      );
      return;
    }
    this.open = true;
    try {
      const wish = path === '/add' ? wishOf(query) : undefined;
      // The link's text is not shown: it may be made to deceive.
      if (wish === undefined) throw new Trouble(vscode.l10n.t('The link for Causeway names no valid host and ports.'));
      await addResource(this.configuration(), wish);
    } catch (error) {
      this.failed(error);
    } finally {
      this.open = false;
    }
  }
}

/** Returns what a link wishes for; undefined if host or ports are missing, repeated, too long or mistaken. */
function wishOf(query: string): Wish | undefined {
  if (query.length > MOST_QUERY) return undefined;
  const parameters = new URLSearchParams(query);
  const [host, ...hosts] = parameters.getAll('host');
  const [ports, ...more] = parameters.getAll('ports');
  if (host === undefined || ports === undefined || hosts.length > 0 || more.length > 0) return undefined;
  if (host.length > MOST_HOST || ports.length > MOST_PORTS) return undefined;
  if (hostMistake(host) !== undefined || portsMistake(ports) !== undefined) return undefined;
  return { host, ports, link: true };
}
