/**
 * The few universal globals that pure packages use. The packages compile with `types: []`, so that an accidental
 * `node:` import or platform API does not compile; what every supported runtime has is declared here, once.
 */

interface HostTimer {
  ref?(): unknown;
  unref?(): unknown;
}

interface Host {
  performance: { now(): number };
  Date: { now(): number };
  setTimeout(callback: () => void, milliseconds: number): HostTimer | number;
  clearTimeout(timer: HostTimer | number): void;
  setImmediate?(callback: () => void): unknown;
  queueMicrotask(callback: () => void): void;
  crypto: { getRandomValues<T extends Uint8Array | Uint32Array>(array: T): T };
  atob(base64: string): string;
  TextEncoder: new () => { encode(text: string): Uint8Array };
  WebAssembly?: {
    Module: new (bytes: Uint8Array) => object;
    Instance: new (module: object) => { exports: Record<string, unknown> };
  };
}

const host = globalThis as unknown as Host;

/** Monotonic milliseconds. Costs about 42 ns: take `Clock.now` instead wherever there is a clock. */
export function monotonicNow(): number {
  return host.performance.now();
}

/** Milliseconds since 1970-01-01 UTC. Steps when the machine's clock is set. */
export function wallNow(): number {
  return host.Date.now();
}

export type HostTimeout = HostTimer | number;

export function startTimeout(callback: () => void, milliseconds: number): HostTimeout {
  return host.setTimeout(callback, milliseconds);
}

export function stopTimeout(timer: HostTimeout): void {
  host.clearTimeout(timer);
}

/** Says whether a running timer keeps the process alive; has no meaning, and does nothing, in browsers. */
export function holdProcess(timer: HostTimeout, hold: boolean): void {
  if (typeof timer === 'number') return;
  if (hold) timer.ref?.();
  else timer.unref?.();
}

/** Runs `callback` once the input that is waiting at this moment was delivered; at once where a host cannot tell. */
export function afterInput(callback: () => void): void {
  if (host.setImmediate === undefined) callback();
  else host.setImmediate(callback);
}

export function microtask(callback: () => void): void {
  host.queueMicrotask(callback);
}

/** Reports an error that nobody on the stack can handle, like the web's `reportError`: as an uncaught exception. */
export function reportLater(error: unknown): void {
  host.setTimeout(() => {
    throw error;
  }, 0);
}

/** Fills `bytes` from the system's secure generator. */
export function fillRandom(bytes: Uint8Array): Uint8Array {
  // The generator refuses requests above 65,536 bytes (Web Crypto §10.1.1).
  for (let at = 0; at < bytes.length; at += 65536) {
    host.crypto.getRandomValues(bytes.subarray(at, Math.min(at + 65536, bytes.length)));
  }
  return bytes;
}

/**
 * The exports of a small module, compiled on the spot; null where WebAssembly, its SIMD part or the permission to compile
 * is missing (a page's content security policy).
 */
export function instantiateWasm(base64: string): Record<string, unknown> | null {
  const { WebAssembly: wasm } = host;
  if (wasm === undefined) return null;
  const bytes = Uint8Array.from(host.atob(base64), (char) => char.charCodeAt(0));
  try {
    return new wasm.Instance(new wasm.Module(bytes)).exports;
  } catch {
    return null;
  }
}

export function utf8(text: string): Uint8Array {
  return new host.TextEncoder().encode(text);
}
