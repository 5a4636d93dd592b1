/**
 * One interface whose peers do not share a network: each connected peer is an `L3Device` of its own, given to a connector
 * that makes a namespace or a port of it (a slirp stack, a NAT, a hub). Peers may all use the same inner address; there
 * are no allowed IPs.
 *
 * A peer's device exists from its first handshake until its keys are erased (nine minutes after it was last heard) or it is
 * removed, so that peers that stay away cost nothing. It comes back with the next handshake.
 */

import type { Clock, Disconnect, L3Connector, Packet, Prefix } from '@pktkit/core';
import type { Engine } from './engine.ts';
import type { Identity, IdentityEvents, PeerOptions } from './identity.ts';
import type { Peer } from './peer.ts';
import { TunnelDevice } from './tunnel-device.ts';

/** One peer as a network interface. `close` detaches it from its network; the peer stays configured. */
export class PeerDevice extends TunnelDevice {
  readonly peer: Peer;

  constructor(peer: Peer, clock: Clock, addrs: readonly Prefix[], coalesce: number) {
    super(clock, addrs, coalesce);
    this.peer = peer;
  }

  get mtu(): number {
    return this.peer.identity.mtu;
  }

  protected forward(packet: Packet): boolean {
    this.peer.send(packet);
    return true;
  }
}

export interface PeerNetworksOptions {
  /** 32 bytes, base64 or hexadecimal digits. */
  privateKey: Uint8Array | string;
  /** Takes the device of each peer that connects. */
  connector: L3Connector;
  /** 1420 unless told. */
  mtu?: number | undefined;
  peers?: readonly PeerOptions[] | undefined;
  events?: IdentityEvents | undefined;
  /** The addresses that a peer's device has; none unless told. */
  addressesOf?: ((peer: Peer) => readonly Prefix[]) | undefined;
  /** `Accept` bits of what the connector puts behind the devices: see `WireGuardOptions.coalesce`. */
  coalesce?: number | undefined;
}

interface Attachment {
  readonly device: PeerDevice;
  readonly disconnect: Disconnect;
}

export class PeerNetworks {
  readonly identity: Identity;
  readonly #engine: Engine;
  readonly #connector: L3Connector;
  readonly #attached = new Map<Peer, Attachment>();
  readonly #addressesOf: (peer: Peer) => readonly Prefix[];
  readonly #coalesce: number;

  /** Adds an identity to the engine. */
  constructor(engine: Engine, options: PeerNetworksOptions) {
    this.#engine = engine;
    this.#connector = options.connector;
    this.#addressesOf = options.addressesOf ?? (() => []);
    this.#coalesce = options.coalesce ?? 0;
    const events = options.events ?? {};
    this.identity = engine.addIdentity({
      privateKey: options.privateKey,
      mtu: options.mtu,
      onPacket: (peer, packet) => this.#attachmentOf(peer).device.receive(packet),
      events: {
        ...events,
        onHandshake: (peer) => {
          this.#attachmentOf(peer);
          events.onHandshake?.(peer);
        },
        onSessionEnd: (peer) => {
          this.#detach(peer);
          events.onSessionEnd?.(peer);
        },
        onRemoved: (peer) => {
          this.#detach(peer);
          events.onRemoved?.(peer);
        },
      },
    });
    try {
      for (const peer of options.peers ?? []) this.identity.addPeer(peer);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Devices of the peers that are connected. */
  get devices(): PeerDevice[] {
    return [...this.#attached.values()].map(({ device }) => device);
  }

  deviceOf(peer: Peer): PeerDevice | undefined {
    return this.#attached.get(peer)?.device;
  }

  addPeer(options: PeerOptions): Peer {
    return this.identity.addPeer(options);
  }

  removePeer(peer: Peer): boolean {
    return this.identity.removePeer(peer);
  }

  /** Disconnects all peers and removes the identity from its engine. */
  close(): void {
    this.#engine.removeIdentity(this.identity);
    for (const peer of [...this.#attached.keys()]) this.#detach(peer);
  }

  #attachmentOf(peer: Peer): Attachment {
    let attachment = this.#attached.get(peer);
    if (attachment === undefined) {
      const addrs = this.#addressesOf(peer);
      const device = new PeerDevice(peer, this.#engine.clock, addrs, this.#coalesce);
      attachment = { device, disconnect: this.#connector.connectL3(device) };
      this.#attached.set(peer, attachment);
    }
    return attachment;
  }

  #detach(peer: Peer): void {
    const attachment = this.#attached.get(peer);
    if (attachment === undefined) return;
    this.#attached.delete(peer);
    attachment.disconnect();
    attachment.device.close();
  }
}
