import { CryptoError } from '../errors.ts';
import { nobleLayer } from '../noble/index.ts';
import type { CryptoProvider } from '../provider.ts';
import { CHACHA_ANSWER, testAead, testBlake2s } from '../self-test.ts';
import { compose, type Layer, type Suite } from '../suite.ts';
import { WasmBlake2s, WasmHmacBlake2s } from './blake2s.ts';
import { WasmChaCha20Poly1305 } from './chacha.ts';
import { type Kernel, kernel, kernelMissing, loadKernel } from './kernel.ts';

/**
 * ChaCha20-Poly1305 and BLAKE2s as WebAssembly SIMD, the rest from noble. Throws `CRYPTO_UNAVAILABLE` where the engine
 * has no WebAssembly with SIMD.
 */
export async function wasmProvider(): Promise<CryptoProvider> {
  requireWasm();
  return composeWasm(await loadKernel());
}

/** The same at once. Some browsers refuse to compile on the page's thread: take `wasmProvider()` there. */
export function wasmProviderSync(): CryptoProvider {
  requireWasm();
  return composeWasm(kernel());
}

/** Tested before it is handed out; a layer without a suite, and with a note, where a test fails. */
export function wasmLayer(run: Kernel): Layer {
  const chacha = (key: Uint8Array) => new WasmChaCha20Poly1305(run, key);
  const blake2s = (length: number, key: Uint8Array | null) => new WasmBlake2s(run, length, key);
  const notes: string[] = [];
  const suite: Partial<Suite> = {};
  const chachaFault = testAead(chacha, CHACHA_ANSWER);
  if (chachaFault === null) suite.chacha20poly1305 = chacha;
  else notes.push(`wasm: ${chachaFault}`);
  const blakeFault = testBlake2s(blake2s);
  if (blakeFault === null) {
    suite.blake2s = blake2s;
    suite['hmac-blake2s'] = (key) => new WasmHmacBlake2s(run, key);
  } else {
    notes.push(`wasm: ${blakeFault}`);
  }
  return { label: 'WebAssembly SIMD', suite, notes };
}

let provider: CryptoProvider | undefined;

function composeWasm(run: Kernel): CryptoProvider {
  provider ??= compose('wasm', [nobleLayer, wasmLayer(run)]);
  return provider;
}

function requireWasm(): void {
  const missing = kernelMissing();
  if (missing !== null)
    throw new CryptoError('CRYPTO_UNAVAILABLE', `${missing}: use nobleProvider()`);
}
