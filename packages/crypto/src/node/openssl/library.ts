/**
 * The OpenSSL that the running executable carries and exports, bound through koffi. Pointers are numbers: a call costs
 * 36 ns that way, 60 with buffers.
 */

import { createRequire } from 'node:module';

type Call = (...args: number[]) => number;
/** Declared without a result where none is needed: making one costs 20 ns. */
type Silent = (...args: number[]) => void;

interface Koffi {
  load(path: string | null): {
    // biome-ignore lint/suspicious/noExplicitAny: what koffi binds is known to the caller alone.
    func(name: string, result: string, args: string[]): any;
  };
  proto(result: string, args: string[]): object;
  // biome-ignore lint/suspicious/noExplicitAny: as above.
  decode(pointer: bigint, type: object | string, length?: number): any;
  address(value: Uint8Array): bigint;
  view(pointer: bigint, length: number): ArrayBuffer;
}

const P = 'uintptr_t';

/** Public, documented functions: any OpenSSL 1.1 or 3. */
export interface EvpFunctions {
  readonly ciphers: Readonly<Record<string, number>>;
  newContext: Call;
  freeContext: Silent;
  init: Call;
  cipher: Call;
  finish: Call;
  control: Call;
}

/** ChaCha20_ctr32 and Poly1305_*: exported by node's own OpenSSL, not part of its public interface. */
export interface ChaChaFunctions {
  chacha: Silent;
  polyInit: Silent;
  polyUpdate: Silent;
  polyFinish: Silent;
  polyContextBytes: number;
}

/** A provider's AES-GCM by its dispatch table (provider-cipher(7)), and two functions behind it. */
export interface GcmFunctions {
  newContext(keyBytes: number): number;
  freeContext: Silent;
  initSeal: Call;
  initOpen: Call;
  setIv: Silent;
  seal: Silent;
  open: Call;
}

export interface X25519Functions {
  agree: Call;
  publicFromPrivate: Silent;
}

/** One loaded koffi and what was found. `null` parts are explained in `notes`. */
export class OpenSsl {
  readonly version: string;
  readonly notes: string[] = [];
  readonly #koffi: Koffi;
  readonly #lib: ReturnType<Koffi['load']>;

  /** Throws what koffi throws where it is missing or does not load. */
  constructor() {
    this.#koffi = createRequire(import.meta.url)('koffi') as Koffi;
    this.#lib = this.#koffi.load(null);
    this.version = `OpenSSL ${process.versions.openssl}`;
  }

  /** Where a buffer's bytes stand. Valid as long as the buffer lives and is not detached. */
  addressOf(buf: Uint8Array): number {
    return Number(this.#koffi.address(buf));
  }

  evp(): EvpFunctions | null {
    return this.#bind('EVP', () => ({
      ciphers: {
        chacha20poly1305: this.#value('EVP_chacha20_poly1305'),
        'aes-128-gcm': this.#value('EVP_aes_128_gcm'),
        'aes-192-gcm': this.#value('EVP_aes_192_gcm'),
        'aes-256-gcm': this.#value('EVP_aes_256_gcm'),
      },
      newContext: this.#lib.func('EVP_CIPHER_CTX_new', P, []),
      freeContext: this.#lib.func('EVP_CIPHER_CTX_free', 'void', [P]),
      init: this.#lib.func('EVP_CipherInit_ex', 'int', [P, P, P, P, P, 'int']),
      cipher: this.#lib.func('EVP_Cipher', 'int', [P, P, P, 'uint32_t']),
      // EVP_Cipher without input ends a message for GCM, but not for ChaCha20-Poly1305.
      finish: this.#lib.func('EVP_CipherFinal_ex', 'int', [P, P, P]),
      control: this.#lib.func('EVP_CIPHER_CTX_ctrl', 'int', [P, 'int', 'int', P]),
    }));
  }

  chacha(): ChaChaFunctions | null {
    return this.#bind('ChaCha20 and Poly1305', () => ({
      chacha: this.#lib.func('ChaCha20_ctr32', 'void', [P, P, P, P, P]),
      polyInit: this.#lib.func('Poly1305_Init', 'void', [P, P]),
      polyUpdate: this.#lib.func('Poly1305_Update', 'void', [P, P, P]),
      polyFinish: this.#lib.func('Poly1305_Final', 'void', [P, P]),
      polyContextBytes: this.#value('Poly1305_ctx_size'),
    }));
  }

  gcm(): GcmFunctions | null {
    return this.#bind('the AES-GCM provider', () => this.#gcmDispatch());
  }

  x25519(): X25519Functions | null {
    return this.#bind('X25519', () => ({
      agree: this.#lib.func('ossl_x25519', 'int', [P, P, P]),
      publicFromPrivate: this.#lib.func('ossl_x25519_public_from_private', 'void', [P, P]),
    }));
  }

  #bind<T>(what: string, find: () => T): T | null {
    try {
      return find();
    } catch (error) {
      this.notes.push(`openssl: ${what} not used: ${(error as Error).message}`);
      return null;
    }
  }

  #value(name: string): number {
    const value = this.#lib.func(name, P, [])();
    if (value === 0) throw new Error(`${name} returned nothing`);
    return value;
  }

  #gcmDispatch(): GcmFunctions {
    // From 3.1 on, contexts of machines with VAES are not what these two functions take: they would crash, which no
    // self-test survives. OPENSSL_VERSION_NUMBER is 0xMNN00PP0.
    const version: number = this.#lib.func('OpenSSL_version_num', P, [])();
    if (version >>> 20 !== 0x300) {
      throw new Error(`known for OpenSSL 3.0, this is ${process.versions.openssl}; EVP serves`);
    }
    const setIv = this.#lib.func('ossl_gcm_setiv', 'void', [P, P, P]);
    const oneShot = 'ossl_gcm_one_shot';
    const seal = this.#lib.func(oneShot, 'void', [P, P, P, P, P, P, P, P]);
    const open = this.#lib.func(oneShot, 'int', [P, P, P, P, P, P, P, P]);

    const provider = this.#lib.func('OSSL_PROVIDER_load', P, [P, 'str'])(0, 'default');
    if (provider === 0) throw new Error('no default provider');
    const context = this.#lib.func('OSSL_PROVIDER_get0_provider_ctx', P, [P])(provider);
    const noStore = new Uint8Array(new ArrayBuffer(128));
    const OP_CIPHER = 2; // core_dispatch.h: OSSL_OP_CIPHER
    const algorithms: number = this.#lib.func('OSSL_PROVIDER_query_operation', P, [P, 'int', P])(
      provider,
      OP_CIPHER,
      this.addressOf(noStore),
    );
    const tables = new Map<number, Map<number, number>>();
    // OSSL_ALGORITHM: names, property definition, implementation, description.
    for (let at = algorithms; at !== 0 && this.#pointerAt(at) !== 0; at += 32) {
      const names: string = this.#koffi.decode(BigInt(this.#pointerAt(at)), 'char', -1);
      const bits = /^AES-(128|192|256)-GCM:/.exec(names)?.[1];
      if (bits !== undefined)
        tables.set(Number(bits) / 8, this.#dispatch(this.#pointerAt(at + 16)));
    }
    const bind = (keyBytes: number, id: number, result: string, args: number) => {
      const address = tables.get(keyBytes)?.get(id);
      if (address === undefined) throw new Error(`AES-${keyBytes * 8}-GCM lacks function ${id}`);
      const proto = this.#koffi.proto(result, new Array<string>(args).fill(P));
      return this.#koffi.decode(BigInt(address), proto);
    };
    // core_dispatch.h: OSSL_FUNC_CIPHER_NEWCTX, _ENCRYPT_INIT, _DECRYPT_INIT, _FREECTX.
    const make: Record<number, Call> = {
      16: bind(16, 1, P, 1),
      24: bind(24, 1, P, 1),
      32: bind(32, 1, P, 1),
    };
    return {
      newContext: (keyBytes) => make[keyBytes](context),
      initSeal: bind(32, 2, 'int', 6),
      initOpen: bind(32, 3, 'int', 6),
      freeContext: bind(32, 7, 'void', 1),
      setIv,
      seal,
      open,
    };
  }

  /** OSSL_DISPATCH: an int, padded, and a function's address; ends with 0. */
  #dispatch(table: number): Map<number, number> {
    const functions = new Map<number, number>();
    for (let at = table; this.#pointerAt(at) !== 0; at += 16) {
      functions.set(this.#pointerAt(at) % 0x1_0000_0000, this.#pointerAt(at + 8));
    }
    return functions;
  }

  #pointerAt(address: number): number {
    const words = new Uint32Array(this.#koffi.view(BigInt(address), 8));
    return words[0] + words[1] * 0x1_0000_0000;
  }
}
