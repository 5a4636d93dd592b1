/**
 * A host on the other side of a tunnel, without root: `connect` takes a wg-quick file and gives a `VClient` that dials,
 * listens, resolves and fetches through it. Needs `@pktkit/vclient`, which a server does without.
 */

import { connectL3, PktkitError } from '@pktkit/core';
import { VClient, type VClientOptions } from '@pktkit/vclient';
import { parseConfig, type WgConfig } from '../config.ts';
import { DEFAULT_MTU } from '../constants.ts';
import type { WireGuard } from '../device.ts';
import { type ListenOptions, listen, type WireGuardPort } from '../node/port.ts';

/** How long a peer is waited for. */
const TIMEOUT = 20_000;

export interface ConnectOptions extends Omit<ListenOptions, 'clock'> {
  /** The client's own options; addresses, name servers and MTU are the file's. */
  client?: Omit<VClientOptions, 'addrs' | 'dns' | 'mtu' | 'clock'> | undefined;
  /**
   * Milliseconds to wait for the first handshake with any peer that has an endpoint; 20,000 unless told. 0 does not wait:
   * the first packet starts the handshake.
   */
  timeout?: number | undefined;
  /** Gives up waiting. */
  signal?: AbortSignal | undefined;
}

/** A `VClient` with its tunnel; `close` ends both. */
export class TunnelClient extends VClient {
  readonly port: WireGuardPort;
  readonly device: WireGuard;

  /** Made by `connect`. */
  constructor(port: WireGuardPort, device: WireGuard, options: VClientOptions) {
    super(options);
    this.port = port;
    this.device = device;
    connectL3(device, this);
  }

  override close(): void {
    super.close();
    // What closing connections had to say has gone through the tunnel by now.
    this.port.close();
  }
}

/**
 * Brings a tunnel up. Rejects with `WG_HANDSHAKE_TIMEOUT` when no peer answers, and with the resolver's error when an
 * endpoint's name cannot be looked up.
 *
 * @example
 * const tunnel = await connect(readFileSync('wg0.conf', 'utf8'));
 * http.get('http://10.0.0.1/', { agent: tunnel.agent() }, (response) => response.pipe(process.stdout));
 */
export async function connect(
  config: WgConfig | string,
  options: ConnectOptions = {},
): Promise<TunnelClient> {
  const { client, timeout = TIMEOUT, signal, ...listenOptions } = options;
  const { interface: own, peers } = typeof config === 'string' ? parseConfig(config) : config;
  if (own.privateKey === undefined) {
    throw new PktkitError('WG_INVALID_CONFIG', '[Interface] needs a PrivateKey');
  }
  signal?.throwIfAborted();
  const port = await listen({ port: own.listenPort ?? 0, ...listenOptions });
  try {
    const mtu = own.mtu ?? DEFAULT_MTU;
    const waiter = new HandshakeWaiter();
    const device = port.device({
      privateKey: own.privateKey,
      addresses: own.address,
      mtu,
      events: { onHandshake: waiter.done },
    });
    const tunnel = new TunnelClient(port, device, {
      ...client,
      addrs: own.address,
      dns: own.dns,
      mtu,
      resolver: { search: own.dnsSearch, ...client?.resolver },
    });
    device.coalesce = tunnel.accepts;
    let known = 0;
    for (const { endpoint, ...rest } of peers) {
      const peer = port.addPeer(device, rest);
      if (endpoint === undefined) continue;
      await port.setEndpoint(peer, endpoint);
      known++;
      peer.handshake();
    }
    if (known > 0 && timeout > 0) await waiter.wait(timeout, signal);
    return tunnel;
  } catch (error) {
    port.close();
    throw error;
  }
}

class HandshakeWaiter {
  #settle: () => void = () => {};
  #happened = false;
  readonly done = (): void => {
    this.#happened = true;
    this.#settle();
  };

  wait(timeout: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.#happened) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void) => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        settle();
      };
      const onAbort = () => finish(() => reject(signal?.reason));
      const timer = setTimeout(() => {
        const message = `no peer has answered within ${timeout} ms: check keys, endpoint and firewall`;
        finish(() => reject(new PktkitError('WG_HANDSHAKE_TIMEOUT', message)));
      }, timeout);
      this.#settle = () => finish(resolve);
      signal?.addEventListener('abort', onAbort, { once: true });
      if (signal?.aborted) onAbort();
    });
  }
}
