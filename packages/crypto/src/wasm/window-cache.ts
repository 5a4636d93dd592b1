/**
 * Copies windows through a view that is kept for the next copy: messages of one size from one place, which is what a
 * data path with a buffer pool gives, make no new view and so no garbage.
 */
export class WindowCache {
  #buf: Uint8Array | null = null;
  #off = 0;
  #len = 0;
  #view: Uint8Array | null = null;

  copy(dst: Uint8Array, dstOff: number, src: Uint8Array, srcOff: number, len: number): void {
    if (len <= 64) {
      for (let i = 0; i < len; i++) dst[dstOff + i] = src[srcOff + i];
      return;
    }
    if (src !== this.#buf || srcOff !== this.#off || len !== this.#len) {
      this.#view = src.subarray(srcOff, srcOff + len);
      this.#buf = src;
      this.#off = srcOff;
      this.#len = len;
    }
    dst.set(this.#view!, dstOff);
  }

  clear(): void {
    this.#buf = null;
    this.#view = null;
  }
}
