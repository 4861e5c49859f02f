/** A button of a message. */
export interface Remedy {
  title: string;
  command: string;
  args?: unknown[];
}

/** An error that the user can act on. Trying again without the user would not help. */
export class Trouble extends Error {
  constructor(
    message: string,
    readonly remedies: Remedy[] = [],
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'Trouble';
  }
}
