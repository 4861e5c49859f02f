/** Resolves after ms; rejects at once when signal is aborted. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer);
      reject(aborted(signal));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort);
      resolve();
    }, ms);
    if (signal?.aborted) abort();
    else signal?.addEventListener('abort', abort, { once: true });
  });
}

/** Settles like promise, but rejects if signal is aborted first, or after ms with an error that names what. */
export async function within<T>(promise: PromiseLike<T>, ms: number, what: string, signal?: AbortSignal): Promise<T> {
  const done = new AbortController();
  const stop = () => done.abort(signal?.reason);
  if (signal?.aborted) stop();
  signal?.addEventListener('abort', stop, { once: true });
  const late = sleep(ms, done.signal).then((): never => {
    throw new Error(`${what} took longer than ${ms / 1000} s`);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    late.catch(() => {});
    signal?.removeEventListener('abort', stop);
    stop();
  }
}

function aborted(signal: AbortSignal | undefined): Error {
  return signal?.reason instanceof Error ? signal.reason : new Error('cancelled');
}
