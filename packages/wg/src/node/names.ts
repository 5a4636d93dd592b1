/**
 * Endpoints by name. A name is looked up when it is set and again while handshakes go unanswered, so that a peer behind a
 * changing address is found again; of several addresses the attempts try one after the other.
 */

import { lookup } from 'node:dns/promises';
import { IpAddr } from '@pktkit/core';
import type { EndpointName } from '../config.ts';
import { NO_ENDPOINT } from '../link.ts';
import type { Peer } from '../peer.ts';
import type { UdpLink } from './udp-link.ts';

export type Lookup = (host: string) => Promise<readonly string[]>;

interface Entry {
  readonly name: EndpointName;
  looking: boolean;
  attempts: number;
}

export class EndpointNames {
  readonly #link: UdpLink;
  readonly #lookup: Lookup;
  readonly #entries = new Map<Peer, Entry>();

  constructor(link: UdpLink, look: Lookup = systemLookup) {
    this.#link = link;
    this.#lookup = look;
  }

  /** Gives the peer this endpoint. Rejects when the name cannot be looked up now; it is tried again with each handshake. */
  async set(peer: Peer, name: EndpointName): Promise<void> {
    const address = IpAddr.tryParse(name.host);
    if (address !== null || name.host.includes('%')) {
      this.#entries.delete(peer);
      peer.setEndpoint(this.#link.intern(address ?? name.host, name.port));
      return;
    }
    const entry = { name, looking: false, attempts: 0 };
    this.#entries.set(peer, entry);
    await this.#resolve(peer, entry);
  }

  nameOf(peer: Peer): EndpointName | undefined {
    return this.#entries.get(peer)?.name;
  }

  /** A handshake of this peer goes unanswered. */
  retry(peer: Peer): void {
    const entry = this.#entries.get(peer);
    if (entry === undefined || entry.looking) return;
    entry.attempts++;
    // Until the name can be looked up again the old address is as good as any.
    this.#resolve(peer, entry).catch(() => {});
  }

  forget(peer: Peer): void {
    this.#entries.delete(peer);
  }

  async #resolve(peer: Peer, entry: Entry): Promise<void> {
    entry.looking = true;
    try {
      const addresses = await this.#lookup(entry.name.host);
      if (this.#entries.get(peer) !== entry || peer.isRemoved || addresses.length === 0) return;
      const text = addresses[entry.attempts % addresses.length];
      const wasUnknown = peer.endpoint === NO_ENDPOINT;
      peer.setEndpoint(this.#link.intern(text, entry.name.port));
      if (wasUnknown && (peer.staged > 0 || peer.persistentKeepalive > 0)) peer.handshake();
    } finally {
      entry.looking = false;
    }
  }
}

async function systemLookup(host: string): Promise<readonly string[]> {
  const found = await lookup(host, { all: true });
  return found.map(({ address }) => address);
}
