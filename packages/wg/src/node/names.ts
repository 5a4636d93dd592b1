/**
 * Endpoints by name. A name is looked up when it is set and again while handshakes go unanswered, so that a peer behind a
 * changing address is found again; of several addresses the attempts try one after the other.
 */

import { lookup } from 'node:dns/promises';
import { IpAddr, PktkitError } from '@pktkit/core';
import { type EndpointName, formatEndpoint } from '../config.ts';
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
    if (this.setAddress(peer, name)) return;
    const entry = { name, looking: false, attempts: 0 };
    this.#entries.set(peer, entry);
    await this.#resolve(peer, entry);
  }

  /**
   * Gives the peer this endpoint when it is an address; false when it is a name. Throws `WG_INVALID_CONFIG` when nothing can
   * be sent there.
   */
  setAddress(peer: Peer, name: EndpointName): boolean {
    const { host, port } = name;
    const address = IpAddr.tryParse(host);
    if (address === null && !host.includes('%')) return false;
    const endpoint = this.#link.intern(address ?? host, port);
    if (endpoint === NO_ENDPOINT) {
      throw new PktkitError(
        'WG_INVALID_CONFIG',
        `endpoint ${formatEndpoint(name)}: this port is bound to an IPv4 address and sends no IPv6`,
      );
    }
    this.#entries.delete(peer);
    peer.setEndpoint(endpoint);
    return true;
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
      const found = await this.#lookup(entry.name.host);
      if (this.#entries.get(peer) !== entry || peer.isRemoved) return;
      const { host, port } = entry.name;
      const endpoints = found
        .map((text) => this.#link.intern(text, port))
        .filter((endpoint) => endpoint !== NO_ENDPOINT);
      if (endpoints.length === 0) {
        const what = found.length === 0 ? 'no address' : `none that can be reached (${found})`;
        throw new PktkitError('WG_NO_ADDRESS', `endpoint ${host}: the name has ${what}`);
      }
      const wasUnknown = peer.endpoint === NO_ENDPOINT;
      peer.setEndpoint(endpoints[entry.attempts % endpoints.length]);
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
