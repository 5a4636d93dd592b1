/** The connecting side: a port of a QEMU (or of another switch) that listens. */

import { createConnection, type Socket } from 'node:net';
import { systemClock } from '@pktkit/core';
import { netOptions, type StreamAddress } from './address.ts';
import { QemuDevice, type QemuDeviceOptions } from './device.ts';

export interface DialOptions extends QemuDeviceOptions {
  /** Gives up connecting. Has no effect on a device that is connected, save to end its reconnecting. */
  signal?: AbortSignal | undefined;
  /**
   * Milliseconds between attempts. The device then outlives its connections: it goes on trying until it is closed, and
   * `dial` itself waits for the first connection instead of rejecting. Without it the device closes with its connection.
   */
  reconnect?: number | undefined;
}

/**
 * Connects to a guest that listens: `-netdev stream,id=n0,server=on,addr.type=unix,addr.path=PATH` or
 * `-netdev socket,id=n0,listen=HOST:PORT`. Rejects with the system's error or the signal's reason.
 */
export async function dial(address: StreamAddress, options: DialOptions = {}): Promise<QemuDevice> {
  const where = netOptions(address);
  const { signal, reconnect, clock = systemClock } = options;
  if (reconnect !== undefined && !(reconnect > 0)) {
    throw new RangeError(`reconnect is a number of milliseconds above 0, got ${reconnect}`);
  }
  signal?.throwIfAborted();
  const device = new QemuDevice(options);
  if (reconnect === undefined) {
    try {
      device.connect(await connect(where, signal));
      return device;
    } catch (error) {
      device.close();
      throw error;
    }
  }

  // One attempt at a time; the timer is armed only between attempts.
  const attempts = new AbortController();
  const timer = clock.timer(() => void attempt());
  let first: (() => void) | null = null;
  const attempt = async () => {
    try {
      const socket = await connect(where, attempts.signal);
      if (first === null) device.stats.reconnects++;
      device.connect(socket, again);
      first?.();
      first = null;
    } catch {
      again();
    }
  };
  const again = () => {
    if (attempts.signal.aborted) device.close();
    else timer.arm(clock.now + reconnect);
  };
  const stop = () => {
    if (attempts.signal.aborted) return;
    attempts.abort();
    timer.cancel();
    clock.release();
  };
  // Trying to connect is something to stay alive for.
  clock.hold();
  void device.closed.then(stop);
  await new Promise<void>((resolve, reject) => {
    const abort = () => {
      stop();
      if (!device.connected) device.close();
      reject(signal?.reason);
    };
    first = resolve;
    signal?.addEventListener('abort', abort, { once: true });
    void device.closed.then(() => signal?.removeEventListener('abort', abort));
    void attempt();
  });
  return device;
}

function connect(
  where: { path: string } | { port: number; host: string },
  signal: AbortSignal | undefined,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ ...where, noDelay: true });
    const abort = () => {
      socket.destroy();
      reject(signal?.reason);
    };
    const settle = () => signal?.removeEventListener('abort', abort);
    signal?.addEventListener('abort', abort, { once: true });
    socket.once('connect', () => {
      settle();
      resolve(socket);
    });
    socket.once('error', (error) => {
      settle();
      reject(error);
    });
  });
}
