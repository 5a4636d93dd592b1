/** A virtual host on an Ethernet: what DHCP and routers say becomes its addresses, name servers and search list. */

import {
  adapt,
  type L2Adapter,
  type L2AdapterOptions,
  type L2Connector,
  type NetworkConfig,
} from '@pktkit/core';
import type { VClient } from './vclient.ts';

export interface Attachment {
  /** The host's network card, for its `stats`, gateways and leases. */
  readonly adapter: L2Adapter;
  /** Resolves once DHCP has given an address; at once where it is not used. */
  ready(options?: { signal?: AbortSignal | undefined }): Promise<NetworkConfig>;
  /** Gives the lease back and unplugs; the client stays and can be attached again. */
  detach(): void;
  [Symbol.dispose](): void;
}

/**
 * Plugs a client into a switch, with DHCP unless `dhcp: false` says otherwise.
 *
 * @example
 * const { ready } = attach(client, hub);
 * await ready();
 */
export function attach(
  client: VClient,
  connector: L2Connector,
  options: L2AdapterOptions = {},
): Attachment {
  const adapter = adapt(client, {
    dhcp: true,
    clock: client.clock,
    ...options,
    onConfig: (config) => {
      apply(client, config);
      options.onConfig?.(config);
    },
  });
  const disconnect = connector.connectL2(adapter);
  const detach = () => {
    adapter.close();
    disconnect();
  };
  return {
    adapter,
    ready: async (readyOptions) => {
      const config = await adapter.ready(readyOptions);
      apply(client, config);
      return config;
    },
    detach,
    [Symbol.dispose]: detach,
  };
}

/** Name servers that were configured by hand stay when the network names none. */
function apply(client: VClient, config: NetworkConfig): void {
  const { dns, domain, search } = config;
  if (dns.length > 0) client.configure({ dns });
  const suffixes = search.length > 0 ? search : domain === null ? [] : [domain];
  if (suffixes.length > 0) client.configure({ search: suffixes });
}
