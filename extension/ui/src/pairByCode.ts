import * as vscode from 'vscode';
import { plain } from '../../shared/src/text';
import { keepToken } from './pairing';
import { openSocket } from './socket';
import { Trouble } from './trouble';

/** Letters and digits that nobody takes for each other; 32 of them, so that a random byte has no bias. */
const ALPHABET = '23456789ABCDEFGHJKLMNPQRSTUVWXYZ';
const CODE_LENGTH = 4;

/**
 * Pairs with the helper that listens at port: shows a code, and waits until the user has told the helper that it is
 * this code. Stores and returns the token. Rejects with a Trouble that says what to do.
 */
export async function pairByCode(secrets: vscode.SecretStorage, port: number, signal: AbortSignal): Promise<string> {
  const code = Array.from(crypto.getRandomValues(new Uint8Array(CODE_LENGTH)), (byte) => ALPHABET[byte % 32]).join('');
  const socket = await openSocket(port, signal, `/pair?code=${code}`);
  const abort = () => socket.close();
  signal.addEventListener('abort', abort, { once: true });
  try {
    const progress = {
      location: vscode.ProgressLocation.Notification,
      title: vscode.l10n.t(
        'The code of this window is {0}. The helper on your machine asks for it, on a page that it opens or in its terminal. Answer yes if it shows the same code.',
        code,
      ),
      cancellable: true,
    };
    const token = await vscode.window.withProgress(progress, (_, cancelled) => {
      return answer(socket, cancelled, signal);
    });
    await keepToken(secrets, token);
    return token;
  } finally {
    signal.removeEventListener('abort', abort);
    socket.close();
  }
}

/** Resolves with the token that comes over the socket. Rejects with a Trouble if the user cancels or the socket closes. */
function answer(socket: WebSocket, cancelled: vscode.CancellationToken, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const again = [
      { title: vscode.l10n.t('Pair Again'), command: 'causeway.pairLocalHelper' },
      { title: vscode.l10n.t('Pair with a Token…'), command: 'causeway.pairByToken' },
    ];
    const fail = (why: string) =>
      reject(new Trouble(vscode.l10n.t('The helper on your machine did not allow this page: {0}.', why), again));
    const cancel = () => reject(new Trouble(vscode.l10n.t('You cancelled the pairing.'), again));
    cancelled.onCancellationRequested(cancel);
    signal.addEventListener('abort', cancel, { once: true });
    socket.onmessage = ({ data }) => {
      try {
        const { token } = JSON.parse(String(data)) as { token?: unknown };
        if (typeof token === 'string' && token !== '') resolve(token);
        else fail(vscode.l10n.t('it gave an answer that this version does not know'));
      } catch {
        fail(vscode.l10n.t('it gave an answer that this version does not know'));
      }
    };
    socket.onclose = ({ reason }) =>
      fail(plain(reason) || vscode.l10n.t('the helper closed the connection before you answered'));
  });
}
