/** Peers as stations of one Ethernet: each has a network card with an address of its own. */

import {
  type Disconnect,
  disconnect,
  L2Adapter,
  type L2AdapterOptions,
  type L2Connector,
  type L3Connector,
  type L3Device,
  PktkitError,
} from '@pktkit/core';

/**
 * Makes of a switch a connector for `PeerNetworks`: every peer becomes a port with a random MAC address, which answers for
 * the addresses of that peer alone. So `addressesOf` must give each peer its own, with the length of the LAN's prefix.
 *
 * @example
 * new PeerNetworks(engine, {
 *   privateKey,
 *   connector: onEthernet(hub, { gateway4: '192.168.1.1' }),
 *   addressesOf: (peer) => [Prefix.parse(`192.168.1.${peer.data}/24`)],
 * });
 */
export function onEthernet(
  connector: L2Connector,
  options: Omit<L2AdapterOptions, 'mac' | 'addrs' | 'dhcp'> = {},
): L3Connector {
  return {
    connectL3(device: L3Device): Disconnect {
      if (device.addrs.length === 0) {
        throw new PktkitError(
          'WG_INVALID_CONFIG',
          'a peer on an Ethernet needs an address of its own: give addressesOf',
        );
      }
      const adapter = new L2Adapter(device, options);
      const undo = connector.connectL2(adapter);
      return disconnect(() => {
        undo();
        adapter.close();
      });
    },
  };
}
