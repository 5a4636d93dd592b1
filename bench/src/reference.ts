/**
 * What each bench must reach and aims at, and what the Go library that pktkit re-creates did, all measured on one machine
 * (2 cores of a Xeon with AVX-512, Linux 6.18, Node 20.20.2, Go 1.26). Scale by the calibration loops.
 */

export interface Reference {
  readonly unit: string;
  /** The Go library; absent where it has nothing to compare. */
  readonly go?: number;
  readonly must: number;
  readonly aim: number;
}

/** In these units less is better. */
export const LOWER_IS_BETTER: ReadonlySet<string> = new Set(['ns', 'µs', 'B']);

/** Nanoseconds of the calibration loops on that machine. */
export const CALIBRATION = {
  copy1500: 22.6,
  mapGet: 20.6,
  clockRead: 44,
  blake2s: 1120,
} as const;

export const REFERENCES: Readonly<Record<string, Reference>> = {
  'core.frame.accessors': { unit: 'ns', go: 0.85, must: 3, aim: 1.5 },
  'core.packet.ipv4': { unit: 'ns', go: 1.39, must: 4, aim: 2 },
  'core.packet.ipv6': { unit: 'ns', go: 0.89, must: 4, aim: 2 },
  'core.checksum.1500': { unit: 'ns', go: 442, must: 250, aim: 80 },
  'core.checksum.40': { unit: 'ns', must: 20, aim: 10 },
  'core.l2hub.forward': { unit: 'ns', go: 82, must: 70, aim: 35 },
  'core.l2hub.forward.4096ports': { unit: 'ns', must: 105, aim: 40 },
  'core.l3hub.route': { unit: 'ns', go: 12.7, must: 25, aim: 12 },
  'core.l3hub.route.100k': { unit: 'ns', must: 120, aim: 50 },
  'core.adapter.in': { unit: 'ns', go: 44, must: 60, aim: 35 },
  'core.adapter.out': { unit: 'ns', go: 99, must: 110, aim: 60 },
  'core.arp.lookup': { unit: 'ns', go: 69, must: 40, aim: 20 },
  'vtcp.segment.parse': { unit: 'ns', go: 9.9, must: 25, aim: 10 },
  'vtcp.segment.parse.options': { unit: 'ns', go: 87, must: 60, aim: 30 },
  'vtcp.segment.build.1460': { unit: 'ns', go: 643, must: 500, aim: 200 },
  'vtcp.transfer.memory': { unit: 'MB/s', must: 400, aim: 1500 },
  'vtcp.transfer.memory.tso': { unit: 'MB/s', must: 1500, aim: 4000 },
  'vtcp.connections': { unit: 'conn/s', must: 40000, aim: 120000 },
  'vtcp.connection.memory': { unit: 'B', must: 2048, aim: 2048 },
  'vtcp.syncookie.generate': { unit: 'ns', go: 659, must: 700, aim: 300 },
  'vtcp.syncookie.validate': { unit: 'ns', go: 642, must: 700, aim: 300 },
  'nat.out.tcp': { unit: 'ns', go: 63, must: 100, aim: 55 },
  'nat.in.tcp': { unit: 'ns', go: 67, must: 100, aim: 55 },
  'nat.out.udp': { unit: 'ns', go: 54, must: 90, aim: 50 },
  'nat.lookup': { unit: 'ns', go: 19, must: 25, aim: 12 },
  'nat.lookup.1m': { unit: 'ns', must: 80, aim: 30 },
  'nat.defrag.pass': { unit: 'ns', go: 2.6, must: 5, aim: 3 },
  'nat.nat64.tcp': { unit: 'ns', must: 400, aim: 150 },
  'wg.seal.1420': { unit: 'ns', go: 822, must: 1200, aim: 750 },
  'wg.open.1420': { unit: 'ns', go: 800, must: 1200, aim: 750 },
  'wg.seal.1420.wasm': { unit: 'ns', must: 1900, aim: 1500 },
  'wg.seal.64': { unit: 'ns', go: 230, must: 600, aim: 300 },
  'wg.open.64': { unit: 'ns', go: 305, must: 600, aim: 300 },
  'wg.handshake': { unit: 'µs', go: 902, must: 900, aim: 450 },
  'wg.replay': { unit: 'ns', go: 13, must: 20, aim: 10 },
  'wg.peer.lookup': { unit: 'ns', go: 19, must: 25, aim: 12 },
  'wg.peer.memory': { unit: 'B', must: 4096, aim: 2048 },
  'wg.peer.memory.connected': { unit: 'B', must: 4096, aim: 4096 },
  // A thousand a second, on the side that answers.
  'wg.peers.handshake': { unit: 'µs', must: 1000, aim: 450 },
  'wg.udp.goodput': { unit: 'MB/s', go: 317, must: 500, aim: 1000 },
  'wg.udp.rtt': { unit: 'µs', go: 8.4, must: 60, aim: 20 },
  'wg.tun.tcp': { unit: 'Gbit/s', must: 1.5, aim: 3.5 },
  'ovpn.gcm.seal.1420': { unit: 'ns', go: 380, must: 800, aim: 450 },
  'ovpn.gcm.open.1420': { unit: 'ns', go: 333, must: 800, aim: 450 },
  'ovpn.chacha.seal.1420': { unit: 'ns', must: 1200, aim: 750 },
  'ovpn.cbc.seal.1420': { unit: 'ns', go: 4658, must: 4600, aim: 2500 },
  'ovpn.prf.256': { unit: 'µs', go: 17.2, must: 30, aim: 15 },
  'ovpn.udp.goodput': { unit: 'MB/s', go: 314, must: 450, aim: 1000 },
  'ovpn.udp.rtt': { unit: 'µs', go: 5.7, must: 60, aim: 20 },
  'ovpn.tun.tcp': { unit: 'Gbit/s', must: 1.0, aim: 2 },
  'qemu.send': { unit: 'ns', go: 1556, must: 1500, aim: 400 },
  'qemu.tcp': { unit: 'MB/s', go: 38, must: 150, aim: 500 },
  'qemu.guest.tcp.up': { unit: 'Mbit/s', must: 340, aim: 500 },
  'qemu.guest.tcp.down': { unit: 'Mbit/s', must: 660, aim: 900 },
  'slirp.tap.tcp.1500.up': { unit: 'Gbit/s', must: 2.05, aim: 8 },
  'slirp.tap.tcp.1500.down': { unit: 'Gbit/s', must: 3.95, aim: 8 },
  'slirp.tap.tcp.65520.up': { unit: 'Gbit/s', must: 4.9, aim: 9 },
  'slirp.tap.tcp.65520.down': { unit: 'Gbit/s', must: 6.3, aim: 12 },
  'slirp.tap.crr': { unit: 'conn/s', must: 2000, aim: 8000 },
  'slirp.flow.memory': { unit: 'B', must: 65536, aim: 8192 },
  'hostio.udp.batched': { unit: 'Mpps', must: 3, aim: 6 },
  'hostio.udp.portable': { unit: 'Mpps', must: 0.15, aim: 0.3 },
  'hostio.udp.rtt': { unit: 'µs', must: 90, aim: 40 },
  'tuntap.tcp.in': { unit: 'Gbit/s', must: 6, aim: 15 },
  'tuntap.tcp.out': { unit: 'Gbit/s', must: 6, aim: 15 },
};

/**
 * Most heap bytes an operation may allocate, where a forwarding path promises it: one window of 56 bytes for each layer
 * crossed (three words that every object has, and four fields). These gate CI; times do not.
 */
export const ALLOCATION_BUDGETS: Readonly<Record<string, number>> = {
  'core.frame.accessors': 1,
  'core.packet.ipv4': 1,
  'core.packet.ipv6': 1,
  'core.checksum.1500': 1,
  'core.checksum.40': 1,
  'core.arp.lookup': 1,
  // The bench's own device makes the window that crosses the hub; the hub adds nothing.
  'core.l2hub.forward': 60,
  'core.l2hub.forward.4096ports': 60,
  'core.l3hub.route': 60,
  'core.l3hub.route.100k': 60,
  // One window comes in, one goes out.
  'core.adapter.in': 116,
  'core.adapter.out': 116,
};
