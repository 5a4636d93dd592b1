export type CryptoErrorCode = 'CRYPTO_WIPED' | 'CRYPTO_UNAVAILABLE' | 'CRYPTO_SELF_TEST';

/** A mistake or a missing part that the program can act on; never the answer to bytes from the network. */
export class CryptoError extends Error {
  readonly code: CryptoErrorCode;

  constructor(code: CryptoErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'CryptoError';
    this.code = code;
  }
}
