/** A capture file that is written while the network runs. */

import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import { UsageError } from './options.ts';
import { formatBytes } from './report.ts';

/** What may wait for the disk before packets are left out of the capture (not of the network). */
const MAX_WAITING = 256 << 20;

export class PcapFile {
  readonly path: string;
  readonly #stream: WriteStream;
  #bytes = 0;
  #error: Error | null = null;

  private constructor(path: string, stream: WriteStream) {
    this.path = path;
    this.#stream = stream;
    stream.on('error', (error) => {
      this.#error = error;
    });
  }

  /** Replaces the file. Rejects with what to change when it cannot be written. */
  static async create(path: string): Promise<PcapFile> {
    const stream = createWriteStream(path);
    try {
      await once(stream, 'open');
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      throw new UsageError(`--pcap ${path} cannot be written (${code ?? message})`, {
        cause: error,
      });
    }
    return new PcapFile(path, stream);
  }

  get size(): string {
    return formatBytes(this.#bytes);
  }

  readonly ready = (): boolean => this.#error === null && this.#stream.writableLength < MAX_WAITING;

  readonly write = (block: Uint8Array): void => {
    this.#bytes += block.length;
    this.#stream.write(block);
  };

  /** The file is complete when this settles; rejects when the disk did not take it. */
  async close(): Promise<void> {
    if (this.#error === null) {
      const done = once(this.#stream, 'close');
      this.#stream.end();
      await done.catch(() => {});
    }
    if (this.#error !== null) {
      const { code, message } = this.#error as NodeJS.ErrnoException;
      throw new UsageError(`writing --pcap ${this.path} failed (${code ?? message})`);
    }
  }
}
