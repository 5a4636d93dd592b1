/** Where things stand in the module's memory. `src/wasm/kernel.ts` repeats these numbers; a test compares them. */

/** 32 bytes. */
export const KEY: usize = 1024;
/** 4 bytes in front of the nonce take the block counter, as OpenSSL's ChaCha20_ctr32 wants it. */
export const NONCE: usize = 1060;
/** The two lengths that end the authenticated bytes (RFC 8439 §2.8). */
export const LENGTHS: usize = 1088;
/** The tag that `open` computes. */
export const TAG: usize = 1104;
/** 256 bytes of key stream for short messages. */
export const STREAM: usize = 1280;
/** BLAKE2s: h (32 bytes), then the two halves of the byte count. */
export const BLAKE_STATE: usize = 1536;
/** BLAKE2s: blocks to compress. */
export const BLAKE_INPUT: usize = 2048;
/** Additional data, up to 56 KiB, and room to pad it. */
export const AAD: usize = 8192;
/** The text, up to 64 KiB, with 64 bytes in front for the one-time key's block and room behind for tag and padding. */
export const TEXT: usize = 65536 + 64;
