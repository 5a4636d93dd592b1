/** Errors that programs can act on. What arrives from the network never throws: it is dropped and counted. */

export type PktkitErrorCode =
  | 'PKT_CLOSED'
  | 'PKT_INVALID_ADDRESS'
  | 'PKT_INVALID_CONFIG'
  | 'PKT_LIMIT'
  | 'PKT_UNSUPPORTED'
  | (string & {});

/** `code` is stable and meant for programs; `message` says what to change and is meant for people. */
export class PktkitError extends Error {
  readonly code: PktkitErrorCode;

  constructor(code: PktkitErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'PktkitError';
    this.code = code;
  }
}
