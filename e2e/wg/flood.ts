/** A flood of initiations from a process in a namespace. */

import { fileURLToPath } from 'node:url';
import type { BackgroundProcess, Netns } from '@pktkit/testkit';
import { formatKey } from '@pktkit/wg';

const CHILD = fileURLToPath(new URL('flood.child.ts', import.meta.url));

export class Flood {
  readonly #process: BackgroundProcess;

  private constructor(process: BackgroundProcess) {
    this.#process = process;
  }

  static async start(
    netns: Netns,
    address: string,
    port: number,
    publicKey: Uint8Array,
    rate = 2000,
  ): Promise<Flood> {
    const args = ['--conditions=@pktkit/source', '--import', 'tsx', CHILD];
    const child = netns.spawn(process.execPath, [
      ...args,
      address,
      String(port),
      formatKey(publicKey),
      String(rate),
    ]);
    await child.waitFor(/flooding/);
    return new Flood(child);
  }

  close(): void {
    this.#process.signal('SIGKILL');
  }
}
