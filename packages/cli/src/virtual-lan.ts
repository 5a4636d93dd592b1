/**
 * A virtual LAN with a way out: a switch, and on it a gateway that gives addresses (DHCP, router advertisements), resolves
 * names and carries traffic to the host's own sockets. Needs no privilege.
 */

import {
  adapt,
  type DhcpServerEvent,
  type DhcpServerLease,
  type Disconnect,
  type IpAddr,
  type L2Adapter,
  type L2Device,
  L2Hub,
  type Prefix,
  tap,
} from '@pktkit/core';
import { type PolicyOptions, type PortForward, Slirp, type SlirpStats } from '@pktkit/slirp';
import { type Forward, UsageError } from './options.ts';
import type { PcapFile } from './pcap-file.ts';

export interface VirtualLanOptions extends PolicyOptions {
  /** The gateway's address with its network. */
  subnet4: Prefix;
  subnet6?: Prefix | undefined;
  /** Name servers to forward to; the host's own unless told. */
  dns?: readonly string[] | undefined;
  mtu?: number | undefined;
  /** Captures what passes the gateway's port of the switch. */
  pcap?: PcapFile | undefined;
  onLease?: ((event: DhcpServerEvent) => void) | undefined;
}

export class VirtualLan {
  readonly hub: L2Hub = new L2Hub();
  readonly gateway: L2Adapter;
  readonly #slirp: Slirp;
  readonly #port: L2Device;
  readonly #forwards: PortForward[] = [];

  constructor(options: VirtualLanOptions) {
    const { subnet4, subnet6, dns, mtu = 1500, pcap, onLease } = options;
    const addrs = subnet6 === undefined ? [subnet4] : [subnet4, subnet6];
    this.#slirp = new Slirp({ ...options, addrs, mtu, dns: dns ?? true });
    const gateway4 = [subnet4.addr];
    const { network } = subnet4;
    // As QEMU's own user network does: the first guest has address 15, which a forward can then name.
    const range: [IpAddr, IpAddr] | undefined =
      subnet4.bits <= 24 ? [network.addr.plus(15), network.last.plus(-1)] : undefined;
    this.gateway = adapt(this.#slirp, {
      mtu,
      // It is the router: what others advertise is none of its business.
      acceptRa: false,
      dhcpServer: { range, routers: gateway4, dns: gateway4, mtu, onEvent: onLease },
      ...(subnet6 === undefined
        ? { ipv6: false }
        : { raServer: { prefixes: [subnet6.network], dns: [subnet6.addr], mtu } }),
    });
    this.#port =
      pcap === undefined
        ? this.gateway
        : tap(this.gateway, pcap.write, { ready: pcap.ready, name: 'gateway' });
    this.hub.connectL2(this.#port);
  }

  /** Plugs a device into the switch. */
  connect(device: L2Device): Disconnect {
    return this.hub.connectL2(device);
  }

  /** Opens a port of the host that leads to a guest. */
  async forward(forward: Forward): Promise<PortForward> {
    const { protocol, host, hostPort, guest, guestPort } = forward;
    try {
      const opened = await this.#slirp.forward({
        protocol,
        host: host.toString(),
        port: hostPort,
        to: guest,
        toPort: guestPort,
      });
      this.#forwards.push(opened);
      return opened;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      throw new UsageError(
        `--forward: ${protocol} port ${hostPort} of ${host} cannot be opened (${code ?? message}); choose another port or address`,
        { cause: error },
      );
    }
  }

  get leases(): readonly DhcpServerLease[] {
    return this.gateway.dhcpServer?.leases ?? [];
  }

  get traffic(): Readonly<SlirpStats> {
    return this.#slirp.stats;
  }

  /** Ends every flow and frees every socket. */
  close(): void {
    for (const forward of this.#forwards.splice(0)) forward.close();
    this.#slirp.close();
    this.#port.close();
  }
}
