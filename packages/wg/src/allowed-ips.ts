/** Which peer a prefix belongs to. */

import type { Packet, Prefix } from '@pktkit/core';
import type { Peer } from './peer.ts';

export interface AllowedIps {
  /** Whether the packet's source leads back to this peer. */
  allowsSource(peer: Peer, packet: Packet): boolean;
  prefixesOf(peer: Peer): readonly Prefix[];
  removePeer(peer: Peer): void;
}
