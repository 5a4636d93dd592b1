/**
 * The WebAssembly kernels and their one piece of memory. The numbers are those of `assembly/layout.ts`. An operation
 * copies its inputs in, calls once, and copies its outputs out; nothing stays but the last key, so that a run of
 * messages under one key writes it once.
 */

import {
  fromBase64,
  type WasmInstance,
  wasmInstantiate,
  wasmInstantiateSync,
  wasmValid,
} from '../platform.ts';
import { MODULE_BASE64 } from './module.ts';

export const KEY: number = 1024;
export const NONCE: number = 1060;
export const LENGTHS: number = 1088;
export const TAG: number = 1104;
export const STREAM: number = 1280;
export const BLAKE_STATE: number = 1536;
export const BLAKE_INPUT: number = 2048;
export const BLAKE_INPUT_BYTES: number = 4096;
export const AAD: number = 8192;
export const AAD_BYTES: number = 56 * 1024;
export const TEXT: number = 65536 + 64;
export const TEXT_BYTES: number = 64 * 1024;

/** The module's exports; lengths and places in bytes. */
interface KernelExports {
  seal(len: number, aadLen: number): void;
  open(len: number, aadLen: number): number;
  block(dst: number, counter: number): void;
  keysAhead(dst: number): void;
  stream(at: number, len: number, counter: number): void;
  polyInit(key: number): void;
  polyUpdate(src: number, len: number): void;
  polyFinish(tag: number, key: number): void;
  blake2sBlocks(count: number, lastLength: number, final: number): void;
}

export class Kernel {
  readonly bytes: Uint8Array;
  readonly words: Uint32Array;
  readonly run: KernelExports;
  /** Whose key stands at KEY. */
  keyOwner: object | null = null;

  constructor(instance: WasmInstance) {
    this.bytes = new Uint8Array(instance.exports.memory.buffer);
    this.words = new Uint32Array(instance.exports.memory.buffer);
    this.run = instance.exports as unknown as KernelExports;
  }

  /** Writes a key of 8 words and a nonce given as 3 words, as little-endian memory holds them. */
  setKey(owner: object, key: Uint32Array): void {
    if (this.keyOwner === owner) return;
    const words = this.words;
    for (let i = 0; i < 8; i++) words[KEY / 4 + i] = key[i];
    this.keyOwner = owner;
  }

  forgetKey(owner: object): void {
    if (this.keyOwner !== owner) return;
    this.words.fill(0, KEY / 4, KEY / 4 + 8);
    this.bytes.fill(0, TEXT - 64, TEXT);
    this.bytes.fill(0, STREAM, STREAM + 256);
    this.keyOwner = null;
  }
}

let shared: Kernel | undefined;

/** Why the kernels cannot run here, or `null`. */
export function kernelMissing(): string | null {
  // Words are exchanged through typed arrays in the machine's order; WebAssembly's is little-endian.
  if (new Uint8Array(new Uint32Array([1]).buffer)[0] !== 1) return 'the machine is big-endian';
  if (!wasmValid(fromBase64(MODULE_BASE64))) return 'WebAssembly with SIMD is not available';
  return null;
}

/** The process's kernels. Call only after `kernelMissing() === null`. */
export function kernel(): Kernel {
  shared ??= new Kernel(wasmInstantiateSync(fromBase64(MODULE_BASE64)));
  return shared;
}

/** The same without compiling on the caller's stack, which some browsers refuse on the page's thread. */
export async function loadKernel(): Promise<Kernel> {
  if (shared === undefined) {
    const instance = await wasmInstantiate(fromBase64(MODULE_BASE64));
    shared ??= new Kernel(instance);
  }
  return shared;
}
