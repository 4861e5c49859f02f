/** The session to resume no longer exists; the message has the reason. */
export class SessionOver extends Error {}
