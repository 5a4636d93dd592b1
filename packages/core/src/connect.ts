/** Wiring: two devices joined back to back, and a loop that connects every guest of an acceptor. */

import {
  type Disconnect,
  disconnect,
  dropFrame,
  dropPacket,
  type Ending,
  type L2Acceptor,
  type L2Connector,
  type L2Device,
  type L3Device,
} from './device.ts';
import { sendL2, sendL3 } from './software-offload.ts';

/** Whatever one device brings is sent into the other, both ways, until disconnected. */
export function connectL2(a: L2Device, b: L2Device): Disconnect {
  a.setHandler((frame) => sendL2(b, frame));
  b.setHandler((frame) => sendL2(a, frame));
  return disconnect(() => {
    a.setHandler(dropFrame);
    b.setHandler(dropFrame);
  });
}

/** Whatever one device brings is sent into the other, both ways, until disconnected. */
export function connectL3(a: L3Device, b: L3Device): Disconnect {
  a.setHandler((packet) => sendL3(b, packet));
  b.setHandler((packet) => sendL3(a, packet));
  return disconnect(() => {
    a.setHandler(dropPacket);
    b.setHandler(dropPacket);
  });
}

export interface ServeOptions {
  /** Ends the loop; devices that are connected stay so. */
  signal?: AbortSignalLike | undefined;
  /** Told when a device could not be connected (it is closed then). */
  onError?: ((error: unknown, device: L2Device) => void) | undefined;
  /** Told of each device that was connected. */
  onConnect?: ((device: L2Device) => void) | undefined;
}

/** The part of `AbortSignal` that is used here; pure packages know no platform types. */
export interface AbortSignalLike {
  readonly aborted: boolean;
  readonly reason: unknown;
  addEventListener(type: 'abort', listener: () => void, options?: { once?: boolean }): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/**
 * Connects every device that the acceptor gives, and disconnects each when it closes. Settles when the acceptor ends or
 * `signal` fires; rejects only when the acceptor itself fails.
 */
export async function serve(
  acceptor: L2Acceptor,
  connector: L2Connector,
  options: ServeOptions = {},
): Promise<void> {
  const { signal, onError, onConnect } = options;
  if (signal?.aborted) return;
  const iterator = acceptor[Symbol.asyncIterator]();
  let stop = () => {};
  const stopped = new Promise<IteratorResult<L2Device>>((resolve) => {
    stop = () => resolve({ done: true, value: undefined });
  });
  signal?.addEventListener('abort', stop, { once: true });
  try {
    for (;;) {
      const { done, value: device } = await Promise.race([iterator.next(), stopped]);
      if (done) return;
      try {
        const undo = connector.connectL2(device);
        const { closed } = device as L2Device & Partial<Ending>;
        closed?.then(undo);
        onConnect?.(device);
      } catch (error) {
        // One guest that cannot be connected is no reason to refuse the next.
        device.close();
        onError?.(error, device);
      }
    }
  } finally {
    signal?.removeEventListener('abort', stop);
    if (signal?.aborted) void iterator.return?.();
  }
}
