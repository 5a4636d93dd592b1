/** A kernel in a namespace at one end of a TUN device, one of our stacks at the other. */

import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { IpAddr, type L3Device, type Packet, sendL3, systemClock } from '@pktkit/core';
import { type BackgroundProcess, Netns } from '@pktkit/testkit';
import { openTun, type TunDevice } from '@pktkit/tuntap';
import { type TcpConnection, type TcpError, TcpStack, type TcpStackOptions } from '@pktkit/vtcp';
import { BLOCK, blockAt } from './content.ts';

export const KERNEL = '10.98.0.1';
export const OURS = '10.98.0.2';
export const KERNEL6 = 'fd98::1';
export const OURS6 = 'fd98::2';

export interface RigOptions {
  mtu?: number;
  offload?: boolean;
  stack?: Partial<TcpStackOptions>;
  /** Puts something between the TUN device and the stack. */
  between?: (tun: TunDevice) => L3Device;
}

export class Rig {
  readonly netns: Netns;
  readonly tun: TunDevice;
  readonly stack: TcpStack;

  private constructor(netns: Netns, tun: TunDevice, stack: TcpStack) {
    this.netns = netns;
    this.tun = tun;
    this.stack = stack;
  }

  static async create(options: RigOptions = {}): Promise<Rig> {
    const netns = await Netns.create({ label: 'vtcp' });
    try {
      const tun = openTun({
        name: 'kern0',
        addrs: [`${KERNEL}/24`, `${KERNEL6}/64`],
        mtu: options.mtu ?? 1500,
        offload: options.offload ?? true,
        netns: netns.name,
      });
      // The queue towards us is 500 packets unless told, and drops when this process is busy: that is loss as on any path.
      await netns.ip('link', 'set', 'kern0', 'txqueuelen', '20000');
      const device = options.between?.(tun) ?? tun;
      const stack = new TcpStack({
        clock: systemClock,
        output: (packet: Packet) => sendL3(device, packet),
        mtu: options.mtu ?? 1500,
        ...options.stack,
      });
      device.setHandler((packet) => {
        if (packet.transport >>> 16 === 6) stack.handlePacket(packet);
        else stack.handleIcmp(packet);
      });
      systemClock.hold();
      return new Rig(netns, tun, stack);
    } catch (error) {
      await netns.close();
      throw error;
    }
  }

  /** Starts the kernel's end as a process in the namespace. */
  peer(...args: string[]): BackgroundProcess {
    const path = fileURLToPath(new URL('kernel-peer.child.ts', import.meta.url));
    const flags = ['--import', 'tsx', path, ...args];
    return this.netns.spawn(process.execPath, flags, { cwd: import.meta.dirname });
  }

  connect(port: number, v6 = false): TcpConnection {
    const [local, remote] = v6 ? [OURS6, KERNEL6] : [OURS, KERNEL];
    return this.stack.connect({
      local: IpAddr.parse(local),
      remote: IpAddr.parse(remote),
      remotePort: port,
    });
  }

  async close(): Promise<void> {
    this.stack.close();
    await new Promise((resolve) => setImmediate(resolve));
    this.tun.close();
    systemClock.release();
    await this.netns.close();
  }
}

export interface Carried {
  got: number;
  hash: string;
  error: TcpError | null;
  milliseconds: number;
}

/** Our end of what `kernel-peer.child.ts` does: `size` bytes each way, closed right after the last write. */
export function carry(c: TcpConnection, size: number): Promise<Carried> {
  const hash = createHash('sha256');
  const from = performance.now();
  let got = 0;
  let at = 0;
  let block = blockAt(0);
  const pump = () => {
    while (at < size) {
      const within = at % BLOCK;
      if (within === 0) block = blockAt(at);
      const len = Math.min(BLOCK - within, size - at);
      const n = c.write(block, within, len);
      at += n;
      if (n < len) return;
    }
    c.shutdown();
  };
  c.onConnected = pump;
  c.onWritable = pump;
  c.onReadable = () => {
    for (let view = c.peek(); view.length > 0; view = c.peek()) {
      hash.update(view);
      got += view.length;
      c.consume(view.length);
    }
  };
  return new Promise((resolve) => {
    c.onClosed = (error) => {
      resolve({ got, hash: hash.digest('hex'), error, milliseconds: performance.now() - from });
    };
  });
}
