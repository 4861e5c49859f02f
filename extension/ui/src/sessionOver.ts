/** The session that was to be resumed is not there any more, with the reason. */
export class SessionOver extends Error {}
