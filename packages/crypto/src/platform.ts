/** The universal globals that this package uses; it compiles with `types: []`, so they are declared here, once. */

interface WasmMemory {
  readonly buffer: ArrayBuffer;
}

export interface WasmInstance {
  readonly exports: Record<string, unknown> & { readonly memory: WasmMemory };
}

interface Host {
  crypto: { getRandomValues(array: Uint8Array): Uint8Array };
  atob(text: string): string;
  WebAssembly?: {
    validate(bytes: Uint8Array): boolean;
    Module: new (bytes: Uint8Array) => object;
    Instance: new (module: object, imports: object) => WasmInstance;
    instantiate(bytes: Uint8Array, imports: object): Promise<{ instance: WasmInstance }>;
  };
}

const host = globalThis as unknown as Host;

/** Fills `bytes` from the system's secure generator. */
export function fillRandom(bytes: Uint8Array): Uint8Array {
  // The generator refuses requests above 65,536 bytes (Web Crypto §10.1.1).
  for (let at = 0; at < bytes.length; at += 65536) {
    host.crypto.getRandomValues(bytes.subarray(at, Math.min(at + 65536, bytes.length)));
  }
  return bytes;
}

export function fromBase64(text: string): Uint8Array {
  const binary = host.atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** Whether the engine takes this module: false without WebAssembly, or without its SIMD instructions. */
export function wasmValid(bytes: Uint8Array): boolean {
  return host.WebAssembly?.validate(bytes) ?? false;
}

/** Compiles on the spot. Some browsers refuse that on the page's main thread for modules above a few KiB. */
export function wasmInstantiateSync(bytes: Uint8Array): WasmInstance {
  const wasm = host.WebAssembly!;
  return new wasm.Instance(new wasm.Module(bytes), {});
}

export async function wasmInstantiate(bytes: Uint8Array): Promise<WasmInstance> {
  return (await host.WebAssembly!.instantiate(bytes, {})).instance;
}
