/** Finds out what the running OpenSSL offers, tests each piece against known answers, and layers what passed. */

import type { CounterAead } from '../../provider.ts';
import {
  CHACHA_ANSWER,
  GCM_128_ANSWER,
  GCM_256_ANSWER,
  testAead,
  testX25519,
} from '../../self-test.ts';
import type { GcmName, Layer, Suite } from '../../suite.ts';
import type { Kernel } from '../../wasm/kernel.ts';
import { chachaPlaces, NativeChaCha20Poly1305, POLY_CONTEXT_ROOM } from './chacha.ts';
import { EvpAead, evpPlaces } from './evp.ts';
import { gcmPlaces, NativeGcm } from './gcm.ts';
import { OpenSsl } from './library.ts';
import { NativeMemory } from './memory.ts';
import { nativeX25519 } from './x25519.ts';

export interface OpenSslLayers {
  /** From slowest to fastest; empty when nothing can be used. */
  readonly layers: readonly Layer[];
  readonly notes: readonly string[];
}

/** `publicOnly` leaves out what OpenSSL exports beside its public interface. */
export function openSslLayers(kernel: Kernel, publicOnly: boolean): OpenSslLayers {
  let openssl: OpenSsl;
  let memory: NativeMemory;
  try {
    openssl = new OpenSsl();
    memory = new NativeMemory(openssl, kernel);
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error);
    return { layers: [], notes: [`openssl: koffi does not load: ${reason}`] };
  }
  const layers: Layer[] = [];
  const { notes } = openssl;

  const add = (how: string, suite: Partial<Suite>, test: () => string | null): void => {
    let fault: string | null;
    try {
      fault = test();
    } catch (error) {
      fault = (error as Error).message;
    }
    if (fault === null) layers.push({ label: `${openssl.version}, ${how}`, suite });
    else notes.push(`openssl, ${how}: ${fault}`);
  };

  const evp = openssl.evp();
  if (evp !== null) {
    const places = evpPlaces(memory);
    const chacha = (key: Uint8Array) => new EvpAead(evp, memory, places, 'chacha20poly1305', key);
    const gcm = (name: GcmName, key: Uint8Array) => new EvpAead(evp, memory, places, name, key);
    add('EVP', { chacha20poly1305: chacha }, () => testAead(chacha, CHACHA_ANSWER));
    add('EVP', { 'aes-gcm': gcm }, () => testGcm(gcm));
  }
  if (publicOnly) return { layers, notes };

  const native = openssl.chacha();
  if (native !== null && native.polyContextBytes <= POLY_CONTEXT_ROOM) {
    const places = chachaPlaces(memory);
    const chacha = (key: Uint8Array) => new NativeChaCha20Poly1305(native, memory, places, key);
    add('ChaCha20_ctr32 and Poly1305', { chacha20poly1305: chacha }, () =>
      testAead(chacha, CHACHA_ANSWER),
    );
  }
  const provider = openssl.gcm();
  if (provider !== null) {
    const places = gcmPlaces(memory);
    const gcm = (name: GcmName, key: Uint8Array) =>
      new NativeGcm(provider, memory, places, name, key);
    add('provider AES-GCM', { 'aes-gcm': gcm }, () => testGcm(gcm));
  }
  const curve = openssl.x25519();
  if (curve !== null) {
    const x25519 = nativeX25519(curve, memory);
    add('ossl_x25519', { x25519 }, () => testX25519(x25519));
  }
  return { layers, notes };
}

function testGcm(gcm: (name: GcmName, key: Uint8Array) => CounterAead): string | null {
  return (
    testAead((key) => gcm('aes-128-gcm', key), GCM_128_ANSWER) ??
    testAead((key) => gcm('aes-256-gcm', key), GCM_256_ANSWER)
  );
}
