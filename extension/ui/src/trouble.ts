/** A button of a message: a command of ours, or a page. */
export interface Remedy {
  title: string;
  command: string;
  args?: unknown[];
}

/** An error that the user can do something about; trying again by itself would not help. */
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
