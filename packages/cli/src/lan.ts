/** `pktkit lan`: a virtual LAN for QEMU guests and for the host's kernel, until Ctrl-C. */

import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import {
  type DhcpServerEvent,
  type Disconnect,
  type Ending,
  type L2Device,
  serve,
} from '@pktkit/core';
import { listen, type StreamAddress } from '@pktkit/qemu';
import { openTap } from '@pktkit/tuntap';
import type { ArgsDef } from 'citty';
import { aborted, Cleanup, untilInterrupted } from './lifetime.ts';
import {
  parseAddress,
  parseForward,
  parseInteger,
  parseSubnet,
  readOptions,
  UsageError,
  type Values,
} from './options.ts';
import { PcapFile } from './pcap-file.ts';
import { formatBytes, makeReport, type Report, row } from './report.ts';
import { VirtualLan } from './virtual-lan.ts';

export const DEFAULT_SUBNET4: string = '10.0.2.2/24';
export const DEFAULT_SUBNET6: string = 'fd70:6b74:6b69:2::2/64';

export const lanArgs: ArgsDef = {
  tap: {
    type: 'string',
    valueHint: 'NAME',
    description: 'Make this TAP interface a port of the LAN (Linux, root); may be repeated',
  },
  netns: {
    type: 'string',
    valueHint: 'NAME',
    description: 'Make the TAP interfaces in this network namespace',
  },
  qemu: {
    type: 'string',
    valueHint: 'PATH|[HOST:]PORT',
    description: 'Take QEMU guests on this unix socket or TCP port; may be repeated',
  },
  subnet: {
    type: 'string',
    valueHint: 'NET',
    description: `Network and gateway, one for each family (${DEFAULT_SUBNET4}, ${DEFAULT_SUBNET6})`,
  },
  ipv6: { type: 'boolean', default: true, description: 'Give guests IPv6 too (--no-ipv6: do not)' },
  dns: {
    type: 'string',
    valueHint: 'ADDR',
    description: "Name server to forward to instead of the host's; may be repeated",
  },
  forward: {
    type: 'string',
    valueHint: '[tcp:|udp:][HOST:]PORT:GUEST:PORT',
    description: 'Open a port of the host that leads to a guest; may be repeated',
  },
  'host-loopback': {
    type: 'boolean',
    default: false,
    description: "Let guests reach the host's 127.0.0.1 and ::1 at the gateway's address",
  },
  mtu: { type: 'string', valueHint: 'BYTES', description: 'Largest packet on the LAN (1500)' },
  pcap: { type: 'string', valueHint: 'FILE', description: 'Capture what passes the gateway' },
  json: { type: 'boolean', default: false, description: 'One JSON object a line' },
};

/** Milliseconds between two status lines. */
const STATUS_EVERY = 1000;

export async function runLan(rawArgs: string[]): Promise<void> {
  const values = readOptions(lanArgs, rawArgs);
  const taps = values.list('tap');
  const sockets = values.list('qemu').map(parseSocket);
  if (taps.length === 0 && sockets.length === 0) {
    throw new UsageError('nobody could join: give --qemu PATH, --tap NAME, or both');
  }
  const netns = values.text('netns');
  if (netns !== undefined && taps.length === 0) {
    throw new UsageError(`--netns ${netns}: only TAP interfaces go there; give --tap NAME too`);
  }
  const forwards = values.list('forward').map((text) => parseForward('forward', text));
  const subnets = readSubnets(values);
  const dns = values.list('dns').map((text) => parseAddress('dns', text).toString());
  const mtuText = values.text('mtu');
  const mtu = mtuText === undefined ? undefined : parseInteger('mtu', mtuText, 1280, 65535);
  const report = makeReport({ json: values.flag('json') });
  const stop = untilInterrupted();
  const cleanup = new Cleanup();
  try {
    const pcapPath = values.text('pcap');
    const pcap = pcapPath === undefined ? undefined : await PcapFile.create(pcapPath);
    if (pcap !== undefined) cleanup.add(() => pcap.close());
    const lan = new VirtualLan({
      ...subnets,
      dns: dns.length > 0 ? dns : undefined,
      mtu,
      hostLoopback: values.flag('host-loopback'),
      pcap,
      onLease: (event) => reportLease(report, event),
    });
    cleanup.add(() => lan.close());
    for (const name of taps) {
      const tap = connectTap(lan, name, netns, mtu);
      cleanup.add(() => tap.close());
      report.event('tap', row('tap', tap.name), { name: tap.name });
    }
    for (const address of sockets) await takeGuests(lan, address, mtu, report, cleanup);
    for (const forward of forwards) {
      await lan.forward(forward);
      const { protocol, host, hostPort, guest, guestPort } = forward;
      const text = `${protocol} ${host} port ${hostPort} to ${guest} port ${guestPort}`;
      report.event('forward', row('forward', text), {
        protocol,
        host,
        hostPort,
        guest,
        guestPort,
      });
    }
    reportReady(report, subnets, pcap);
    const timer = setInterval(() => reportStatus(report, lan), STATUS_EVERY);
    cleanup.add(() => clearInterval(timer));
    await aborted(stop);
    report.end();
  } finally {
    await cleanup.run();
  }
  report.event('closed', row('closed', 'nothing is left behind'));
}

function readSubnets(
  values: Values,
): Pick<ConstructorParameters<typeof VirtualLan>[0], 'subnet4' | 'subnet6'> {
  const given = values.list('subnet').map((text) => parseSubnet('subnet', text));
  for (const family of [4, 6]) {
    if (given.filter((prefix) => prefix.family === family).length > 1) {
      throw new UsageError(`--subnet: give at most one network of IPv${family}`);
    }
  }
  const wanted6 = given.find((prefix) => prefix.family === 6);
  if (wanted6 !== undefined && !values.flag('ipv6')) {
    throw new UsageError(`--subnet ${wanted6} contradicts --no-ipv6: leave one of them out`);
  }
  const fallback6 = values.flag('ipv6') ? parseSubnet('subnet', DEFAULT_SUBNET6) : undefined;
  return {
    subnet4: given.find((prefix) => prefix.family === 4) ?? parseSubnet('subnet', DEFAULT_SUBNET4),
    subnet6: wanted6 ?? fallback6,
  };
}

/** A path, `PORT`, `HOST:PORT` or `[ADDR]:PORT`. */
export function parseSocket(text: string): StreamAddress {
  const match = /^(?:\[([^\]]+)\]:|([^:/]+):)?(\d+)$/.exec(text);
  if (match === null) return { path: text };
  const [, bracketed, plain, port] = match;
  return { port: parseInteger('qemu', port, 0, 65535), host: bracketed ?? plain };
}

/** Opens a TAP and plugs it in; the errors that people meet say what to do. */
export function connectTap(
  lan: VirtualLan,
  name: string,
  netns: string | undefined,
  mtu: number | undefined,
): ReturnType<typeof openTap> {
  let tap: ReturnType<typeof openTap>;
  try {
    tap = openTap({ name, mtu, netns });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const advice: Readonly<Record<string, string>> = {
      EPERM: 'making an interface needs root or CAP_NET_ADMIN; run it with sudo, or use --qemu',
      EACCES: 'making an interface needs root or CAP_NET_ADMIN; run it with sudo, or use --qemu',
      EBUSY: 'an interface of that name is in use; choose another --tap NAME',
      ENOENT: 'there is no /dev/net/tun here; load the tun module, or use --qemu',
    };
    throw new UsageError(`--tap ${name}: ${advice[code ?? ''] ?? message}`, { cause: error });
  }
  lan.connect(tap);
  return tap;
}

async function takeGuests(
  lan: VirtualLan,
  address: StreamAddress,
  mtu: number | undefined,
  report: Report,
  cleanup: Cleanup,
): Promise<void> {
  const listener = await listen(address, { mtu }).catch((error: NodeJS.ErrnoException) => {
    const where = address.path ?? `${address.host ?? '127.0.0.1'}:${address.port}`;
    let why = error.message;
    if (error.code === 'EADDRINUSE') why = 'somebody listens there already';
    // Node says EACCES for this, too.
    else if (address.path !== undefined && !existsSync(dirname(address.path))) {
      why = `there is no folder ${dirname(address.path)}`;
    }
    throw new UsageError(`--qemu ${where}: ${why}; choose another path or port`, { cause: error });
  });
  cleanup.add(() => {
    for (const guest of listener.guests) guest.close();
    return listener.close();
  });
  let number = 0;
  const connector = {
    connectL2(device: L2Device): Disconnect {
      const guest = ++number;
      const undo = lan.connect(device);
      report.event('guest', row('guest', `number ${guest} is connected`), { guest });
      void (device as L2Device & Ending).closed.then(() => {
        report.event('guest-left', row('guest', `number ${guest} has left`), { guest });
      });
      return undo;
    },
  };
  void serve(listener, connector);
  const { path, port, host } = listener.address;
  const option =
    path === undefined
      ? `addr.type=inet,addr.host=${host},addr.port=${port}`
      : `addr.type=unix,addr.path=${path}`;
  report.event('qemu', row('qemu', `-netdev stream,id=n0,server=off,${option}`), {
    path,
    port,
    host,
  });
}

function reportReady(
  report: Report,
  subnets: ReturnType<typeof readSubnets>,
  pcap: PcapFile | undefined,
): void {
  const { subnet4, subnet6 } = subnets;
  const networks = [subnet4, subnet6].filter((prefix) => prefix !== undefined);
  for (const prefix of networks) {
    const text = `${prefix.network}, gateway and name server ${prefix.addr}`;
    report.event('network', row('network', text), {
      network: prefix.network.toString(),
      gateway: prefix.addr.toString(),
    });
  }
  if (pcap !== undefined) {
    report.event('capture', row('capture', `into ${pcap.path}`), { file: pcap.path });
  }
  report.event('ready', row('ready', 'Ctrl-C ends it'));
}

function reportLease(report: Report, event: DhcpServerEvent): void {
  const { type, lease } = event;
  const { address, mac, hostname } = lease;
  const verbs: Readonly<Record<string, string>> = {
    lease: 'has',
    renew: 'keeps',
    release: 'gives back',
    expire: 'has lost',
    decline: 'declines',
  };
  const who = hostname === null ? mac.toString() : `${mac} (${hostname})`;
  report.event(type, row('lease', `${who} ${verbs[type]} ${address}`), {
    address: address.toString(),
    mac: mac.toString(),
    hostname,
  });
}

function reportStatus(report: Report, lan: VirtualLan): void {
  const { traffic, leases, hub } = lan;
  const { tcpFlows, udpMappings, tcpBytesUp, tcpBytesDown, udpBytesUp, udpBytesDown } = traffic;
  const up = tcpBytesUp + udpBytesUp;
  const down = tcpBytesDown + udpBytesDown;
  const ports = hub.portCount - 1;
  report.status(
    row(
      'status',
      `${ports} ports, ${leases.length} leases, ${tcpFlows} TCP, ${udpMappings} UDP, up ${formatBytes(up)}, down ${formatBytes(down)}`,
    ),
    { ports, leases: leases.length, tcpFlows, udpMappings, bytesUp: up, bytesDown: down },
  );
}
