import {
  adapt,
  type DhcpMessage,
  DhcpOption,
  DhcpServer,
  type DhcpServerOptions,
  DhcpType,
  Frame,
  IpAddr,
  impair,
  type L2Device,
  MacAddr,
  Packet,
  PktkitError,
  parseDhcp,
  pipeL2,
  pipeL3,
  tap,
  writeDhcp,
  writeIpv4,
} from '@pktkit/core';
import { VirtualClock } from '@pktkit/testkit';
import { describe, expect, it } from 'vitest';
import { lan, seeded } from './lan.ts';

const SERVER = IpAddr.parse('10.0.0.1');

interface Answer {
  type: number;
  yiaddr: string;
  options: Map<number, Uint8Array>;
  dstIp: string;
  dstMac: string;
  flags: boolean;
}

/** A server on a bench: requests in as frames, answers out. */
function bench(options: Partial<DhcpServerOptions> = {}) {
  const clock = new VirtualClock();
  const server = new DhcpServer({
    address: '10.0.0.1/24',
    range: ['10.0.0.10', '10.0.0.19'],
    clock,
    random: seeded(3),
    ...options,
  });
  const answers: Answer[] = [];
  server.setHandler((frame) => {
    const { buf, off, len } = frame;
    const message = parseDhcp(buf, off + 42, len - 42);
    if (message === null) return;
    answers.push({
      type: message.type,
      yiaddr: IpAddr.v4(message.yiaddr).toString(),
      options: message.options,
      dstIp: IpAddr.read(4, buf, off + 30).toString(),
      dstMac: MacAddr.fromNumber(frame.dst).toString(),
      flags: message.broadcast,
    });
  });
  function ask(
    type: number,
    mac: number,
    fields: {
      ciaddr?: string;
      giaddr?: string;
      dst?: string;
      broadcast?: boolean;
      src?: number;
    } = {},
    opts: ReadonlyArray<[number, Uint8Array]> = [],
  ): Answer | undefined {
    answers.length = 0;
    const bytes = new Uint8Array(14 + 28 + 600);
    const u32 = (text: string | undefined) => (text === undefined ? 0 : IpAddr.parse(text).v4);
    const len = writeDhcp(bytes, 42, 600, {
      op: 1,
      type,
      xid: 77,
      hops: 0,
      secs: 0,
      broadcast: fields.broadcast ?? false,
      ciaddr: u32(fields.ciaddr),
      yiaddr: 0,
      siaddr: 0,
      giaddr: u32(fields.giaddr),
      mac,
      options: new Map(opts),
    });
    const frame = new Frame(bytes, 0, 42 + len);
    frame.dst = 0xffffffffffff;
    frame.src = fields.src ?? mac;
    bytes.set([8, 0], 12);
    writeIpv4(bytes, 14, 28 + len, 17, u32(fields.ciaddr), u32(fields.dst ?? '255.255.255.255'));
    bytes.set([0, 68, 0, 67, (8 + len) >> 8, (8 + len) & 255, 0, 0], 34);
    server.send(frame);
    return answers[0];
  }
  const ip = (text: string): [number, Uint8Array] => [50, IpAddr.parse(text).toBytes()];
  const sid = (text = server.address.toString()): [number, Uint8Array] => [
    54,
    IpAddr.parse(text).toBytes(),
  ];
  /** A whole exchange; gives the address. */
  function lease(mac: number): string | undefined {
    const offer = ask(DhcpType.DISCOVER, mac);
    if (offer === undefined) return undefined;
    const ack = ask(DhcpType.REQUEST, mac, {}, [ip(offer.yiaddr), sid()]);
    return ack?.type === DhcpType.ACK ? ack.yiaddr : undefined;
  }
  return { clock, server, ask, lease, ip, sid };
}

describe('DHCP server', () => {
  it('CORE-16: an address that has gone to another client is not given to its first holder again', () => {
    const { clock, server, ask, lease, ip } = bench({
      range: ['10.0.0.10', '10.0.0.10'],
      leaseTime: 60,
    });
    expect(lease(0x020000000001)).toBe('10.0.0.10');
    clock.advance(61_000);
    expect(lease(0x020000000002)).toBe('10.0.0.10');
    // The first one comes back with what it remembers, in every way it can.
    expect(ask(DhcpType.DISCOVER, 0x020000000001)).toBeUndefined();
    expect(ask(DhcpType.REQUEST, 0x020000000001, {}, [ip('10.0.0.10')])?.type).toBe(DhcpType.NAK);
    const renewal = { ciaddr: '10.0.0.10', dst: '10.0.0.1' };
    expect(ask(DhcpType.REQUEST, 0x020000000001, renewal)?.type).toBe(DhcpType.NAK);
    expect(server.leases.map((l) => l.mac.value)).toEqual([0x020000000002]);
  });

  it('CORE-16: no two leases share an address, whatever the order of requests', () => {
    const { clock, server, ask, lease, ip } = bench({ leaseTime: 60 });
    const random = seeded(5);
    for (let i = 0; i < 3000; i++) {
      const mac = 0x020000000000 + (random() % 25);
      const act = random() % 5;
      const address = `10.0.0.${10 + (random() % 10)}`;
      if (act < 2) lease(mac);
      else if (act === 2) ask(DhcpType.REQUEST, mac, {}, [ip(address)]);
      else if (act === 3) ask(DhcpType.RELEASE, mac, { ciaddr: address, dst: '10.0.0.1' });
      else clock.advance(random() % 20_000);
      const held = server.leases.map((l) => l.address.toString());
      expect(new Set(held).size).toBe(held.length);
    }
    expect(server.stats.expired).toBeGreaterThan(10);
  });

  it('CORE-17: a flood of DISCOVERs from random addresses locks nobody out', () => {
    const { server, ask, lease } = bench({ range: ['10.0.0.10', '10.0.0.250'] });
    for (let i = 0; i < 5000; i++)
      ask(DhcpType.DISCOVER, 0x060000000000 + i, { src: 0x060000000000 + i });
    expect(server.tableSize).toBeLessThanOrEqual(241);
    expect(lease(0x020000000001)).toMatch(/^10\.0\.0\./);
    expect(server.leases.length).toBe(1);
  });

  it('CORE-17: offers under way are bounded, and the oldest gives way', () => {
    const { server, ask } = bench({ range: ['10.0.0.10', '10.0.0.250'], maxOffers: 20 });
    for (let i = 0; i < 100; i++)
      ask(DhcpType.DISCOVER, 0x060000000000 + i, { src: 0x060000000000 + i });
    expect(server.tableSize).toBe(20);
    expect(server.stats.table.offersEvicted).toBe(80);
  });

  it('CORE-17: one station under many names gets no more than its share', () => {
    const { server, ask, ip, sid } = bench({
      range: ['10.0.0.10', '10.0.0.250'],
      maxLeasesPerStation: 8,
    });
    const station = 0x060000000000;
    for (let i = 0; i < 100; i++) {
      const offer = ask(DhcpType.DISCOVER, 0x0a0000000000 + i, { src: station });
      if (offer) {
        ask(DhcpType.REQUEST, 0x0a0000000000 + i, { src: station }, [ip(offer.yiaddr), sid()]);
      }
    }
    expect(server.leases.length).toBe(8);
    expect(server.stats.table.stationLimit).toBe(92);
  });

  it('CORE-17: offers lapse, leases are swept, and DECLINE counts only from the holder', () => {
    const { clock, server, ask, lease, ip, sid } = bench();
    ask(DhcpType.DISCOVER, 0x020000000001);
    expect(server.leases.length).toBe(0);
    expect(server.tableSize).toBe(1);
    clock.advance(60_001);
    expect(server.tableSize).toBe(0);
    const address = lease(0x020000000002) as string;
    for (let i = 0; i < 50; i++) {
      ask(DhcpType.DECLINE, 0x060000000000 + i, {}, [ip(address), sid()]);
      ask(DhcpType.DECLINE, 0x060000000000 + i, {}, [ip('10.0.0.15'), sid()]);
    }
    // Nor does it count from a holder about another address than its own.
    ask(DhcpType.DECLINE, 0x020000000002, {}, [ip('10.0.0.15'), sid()]);
    expect(server.stats.dropNotHolder).toBe(101);
    expect(server.stats.declines).toBe(0);
    expect(server.leases.length).toBe(1);
    ask(DhcpType.DECLINE, 0x020000000002, {}, [ip(address), sid()]);
    expect(server.stats.declines).toBe(1);
    expect(lease(0x020000000002)).not.toBe(address);
    clock.advance(3_600_001);
    expect(server.stats.expired).toBe(1);
    expect(server.leases).toEqual([]);
  });

  it('CORE-17: quarantined addresses are a quarter of the range at most', () => {
    const { server, ask, lease, ip, sid } = bench();
    for (let i = 0; i < 100; i++) {
      const address = lease(0x020000000000 + i);
      if (address) ask(DhcpType.DECLINE, 0x020000000000 + i, {}, [ip(address), sid()]);
    }
    expect(server.stats.declines).toBeGreaterThan(50);
    expect(server.tableSize).toBeLessThanOrEqual(10);
  });

  it('CORE-18: says no to what is wrong here, and nothing about other servers’ clients', () => {
    const { server, ask, lease, ip, sid } = bench();
    lease(0x020000000001);
    expect(ask(DhcpType.REQUEST, 0x020000000001, {}, [ip('192.168.1.5')])?.type).toBe(DhcpType.NAK);
    const chosen = ask(DhcpType.REQUEST, 0x020000000003, {}, [ip('10.0.0.15'), sid('10.0.0.99')]);
    expect(chosen).toBeUndefined();
    expect(server.stats.dropOtherServer).toBe(1);
    const modest = bench({ authoritative: false });
    const unknown = modest.ask(DhcpType.REQUEST, 0x020000000003, {}, [ip('192.168.1.5')]);
    expect(unknown).toBeUndefined();
    expect(modest.server.stats.dropUnknown).toBe(1);
  });

  it('CORE-18: honours the broadcast flag, ciaddr and relays', () => {
    const { ask, lease } = bench();
    const mac = 0x020000000001;
    expect(ask(DhcpType.DISCOVER, mac, { broadcast: true })).toMatchObject({
      dstIp: '255.255.255.255',
      dstMac: 'ff:ff:ff:ff:ff:ff',
    });
    const offer = ask(DhcpType.DISCOVER, mac);
    expect(offer).toMatchObject({ dstIp: offer?.yiaddr, dstMac: '02:00:00:00:00:01' });
    const address = lease(mac) as string;
    const renewal = ask(DhcpType.REQUEST, mac, { ciaddr: address, dst: '10.0.0.1' });
    expect(renewal).toMatchObject({ type: DhcpType.ACK, dstIp: address, yiaddr: address });
    const circuit = Uint8Array.of(1, 2, 3);
    const relayed = ask(
      DhcpType.DISCOVER,
      0x020000000002,
      { giaddr: '10.0.0.200', src: 0x0200000000aa },
      [[DhcpOption.RELAY_AGENT, circuit]],
    );
    expect(relayed).toMatchObject({ dstIp: '10.0.0.200', dstMac: '02:00:00:00:00:aa' });
    expect(relayed?.options.get(DhcpOption.RELAY_AGENT)).toEqual(circuit);
  });

  it('CORE-18: INFORM is answered with the server’s identifier and without an address', () => {
    const { ask } = bench({ dns: ['10.0.0.3'] });
    const answer = ask(DhcpType.INFORM, 0x020000000001, { ciaddr: '10.0.0.77' });
    expect(answer).toMatchObject({ type: DhcpType.ACK, yiaddr: '0.0.0.0', dstIp: '10.0.0.77' });
    expect(answer?.options.get(DhcpOption.SERVER_ID)).toEqual(SERVER.toBytes());
    expect(answer?.options.has(DhcpOption.LEASE_TIME)).toBe(false);
  });

  it('CORE-18: never offers its own, a router’s or the network’s addresses', () => {
    const { lease } = bench({
      address: '10.0.0.1/29',
      range: ['10.0.0.0', '10.0.0.7'],
      routers: ['10.0.0.2'],
      dns: ['10.0.0.3'],
    });
    const given = [1, 2, 3, 4, 5].map((i) => lease(0x020000000000 + i));
    expect(given.filter(Boolean).sort()).toEqual(['10.0.0.4', '10.0.0.5', '10.0.0.6']);
  });

  it('CORE-18: a range that ends at the last address of all ends', () => {
    const { lease, ask } = bench({
      address: '255.255.255.249/29',
      range: ['255.255.255.250', '255.255.255.255'],
    });
    const given = [1, 2, 3, 4, 5, 6].map((i) => lease(0x020000000000 + i));
    expect(given.filter(Boolean).length).toBe(5);
    expect(ask(DhcpType.DISCOVER, 0x020000000009)).toBeUndefined();
  });

  it('CORE-18: carries every option, and long ones in parts', () => {
    const search = Array.from({ length: 20 }, (_, i) => `sub${i}.department.example`);
    const { ask } = bench({
      routers: ['10.0.0.2'],
      dns: Array.from({ length: 32 }, (_, i) => `10.0.1.${i + 1}`),
      ntp: ['10.0.0.4'],
      domain: 'lan.example',
      search,
      mtu: 1400,
      routes: [{ prefix: '192.168.0.0/16', gateway: '10.0.0.5' }],
      staticLeases: [{ mac: '02:00:00:00:00:01', address: '10.0.0.15', hostname: 'printer' }],
      options: { 66: Uint8Array.of(65) },
    });
    const all = Uint8Array.of(1, 3, 6, 12, 15, 26, 28, 42, 51, 58, 59, 66, 119, 121);
    const size: [number, Uint8Array] = [57, Uint8Array.of(1500 >> 8, 1500 & 255)];
    const id: [number, Uint8Array] = [61, Uint8Array.of(1, 2, 0, 0, 0, 0, 1)];
    const offer = ask(DhcpType.DISCOVER, 0x020000000001, {}, [[55, all], size, id]);
    expect(offer?.yiaddr).toBe('10.0.0.15');
    for (const code of all) expect(offer?.options.has(code), `option ${code}`).toBe(true);
    expect(offer?.options.get(61)).toEqual(id[1]);
    expect(offer?.options.get(119)?.length).toBeGreaterThan(255);
    expect(offer?.options.get(121)).toEqual(Uint8Array.of(16, 192, 168, 10, 0, 0, 5));
  });

  it('CORE-01: an IPv6 or missing server address is an error that says so, not a crash', () => {
    expect(() => new DhcpServer({ address: 'fd00::1/64' })).toThrow(PktkitError);
    expect(() => new DhcpServer({})).toThrow(/address: give the DHCP server an IPv4 address/);
    expect(() => bench({ dns: ['fd00::1'] })).toThrow(/dns: DHCP serves IPv4/);
    expect(() => bench({ range: ['10.0.1.1', '10.0.1.9'] })).toThrow(/range/);
  });

  it('keeps leases over a restart', () => {
    const first = bench();
    const address = first.lease(0x020000000001);
    const second = bench();
    expect(second.server.importLeases(first.server.exportLeases())).toBe(1);
    expect(second.server.leases[0].address.toString()).toBe(address);
    expect(second.ask(DhcpType.DISCOVER, 0x020000000009)?.yiaddr).not.toBe(address);
  });

  it('sets an address aside that answers the probe', () => {
    const net = lan();
    net.host({ addrs: ['10.0.0.2/24'], ipv6: false });
    const server = new DhcpServer({
      address: '10.0.0.1/24',
      conflictProbe: 300,
      clock: net.clock,
      random: seeded(2),
    });
    net.connect(server);
    const client = net.host({ dhcp: true, ipv6: false });
    net.clock.advance(5000);
    expect(server.stats.probeConflicts).toBe(1);
    expect(client.device.addrs.map(String)).toEqual(['10.0.0.3/24']);
  });
});

/** A DHCP server that answers with the types it is told. */
class ScriptedServer implements L2Device {
  readonly mac: MacAddr = MacAddr.parse('02:00:00:00:00:99');
  readonly mtu: number = 1500;
  readonly accepts: number = 0;
  readonly #answer: (message: DhcpMessage) => number;
  #handler: (frame: Frame) => void = () => {};

  constructor(answer: (message: DhcpMessage) => number) {
    this.#answer = answer;
  }

  setHandler(handler: (frame: Frame) => void): void {
    this.#handler = handler;
  }

  send(frame: Frame): void {
    const message = frame.len > 282 ? parseDhcp(frame.buf, frame.off + 42, frame.len - 42) : null;
    if (message === null) return;
    const bytes = new Uint8Array(42 + 548);
    const len = writeDhcp(bytes, 42, 548, {
      ...message,
      op: 2,
      type: this.#answer(message),
      yiaddr: IpAddr.parse('10.0.0.50').v4,
      options: new Map([
        [DhcpOption.SERVER_ID, SERVER.toBytes()],
        [DhcpOption.LEASE_TIME, Uint8Array.of(0, 0, 255, 255)],
      ]),
    });
    const answer = new Frame(bytes, 0, 42 + len);
    answer.dst = message.mac;
    answer.src = this.mac.value;
    bytes.set([8, 0], 12);
    writeIpv4(bytes, 14, 28 + len, 17, SERVER.v4, 0xffffffff);
    bytes.set([0, 67, 0, 68, (8 + len) >> 8, (8 + len) & 255, 0, 0], 34);
    this.#handler(answer);
  }

  close(): void {}
}

describe('DHCP client', () => {
  /** A client on a switch with a server whose port drops what `lose` says. */
  function network(options: Partial<DhcpServerOptions> = {}, client: object = {}) {
    const net = lan();
    const server = new DhcpServer({
      address: '10.0.0.1/24',
      routers: ['10.0.0.1'],
      clock: net.clock,
      random: seeded(2),
      ...options,
    });
    const state = { lose: (_type: number, _toServer: boolean): boolean => false };
    const typeOf = (frame: Frame) =>
      frame.len > 282 ? (parseDhcp(frame.buf, frame.off + 42, frame.len - 42)?.type ?? 0) : 0;
    net.hub.connectL2({
      mac: server.mac,
      mtu: 1500,
      accepts: 0,
      setHandler: (handler) =>
        server.setHandler((frame) => {
          if (!state.lose(typeOf(frame), false)) handler(frame);
        }),
      send: (frame) => {
        if (!state.lose(typeOf(frame), true)) server.send(frame);
      },
      close: () => server.close(),
    });
    const losses: string[] = [];
    const host = net.host({
      dhcp: { onLoss: (_lease: unknown, reason: string) => losses.push(reason), ...client },
      ipv6: false,
    });
    const dhcp = host.adapter.dhcp;
    if (dhcp === null) throw new Error('no client');
    return { ...net, addHost: net.host, server, state, host, dhcp, losses };
  }

  it.each([
    ['DISCOVER', DhcpType.DISCOVER],
    ['OFFER', DhcpType.OFFER],
    ['REQUEST', DhcpType.REQUEST],
    ['ACK', DhcpType.ACK],
  ])('CORE-14: survives the loss of the first three of every %s', (_name, type) => {
    const { clock, state, dhcp } = network();
    let lost = 0;
    state.lose = (seen) => seen === type && lost++ < 3;
    clock.runUntil(() => dhcp.state === 'bound', 120_000);
    expect(lost).toBe(4);
    expect(dhcp.stats.retransmitted).toBe(3);
  });

  it('CORE-14: renews, rebinds and in the end gives the address up', () => {
    const { clock, state, server, dhcp, host, losses } = network({ leaseTime: 600 });
    clock.advance(2000);
    const first = server.stats.acks;
    clock.advance(301_000);
    expect(server.stats.acks).toBe(first + 1);
    expect(dhcp.state).toBe('bound');
    state.lose = () => true;
    const states = new Set<string>();
    for (let i = 0; i < 700; i++) {
      clock.advance(1000);
      states.add(dhcp.state);
    }
    expect([...states]).toEqual(['bound', 'renewing', 'rebinding', 'selecting']);
    expect(losses).toEqual(['expired']);
    expect(host.device.addrs).toEqual([]);
    state.lose = () => false;
    clock.advance(70_000);
    expect(dhcp.state).toBe('bound');
  });

  it('CORE-15: applies what it was given, in messages of 300 bytes at least', async () => {
    const { clock, frames, host, dhcp } = network(
      { dns: ['10.0.0.3'], domain: 'lan.example', mtu: 1400, leaseTime: 1000 },
      { hostname: 'box', clientId: Uint8Array.of(0, 1, 2, 3) },
    );
    clock.advance(3000);
    const { config } = host.adapter;
    expect(config.dns.map(String)).toEqual(['10.0.0.3']);
    expect(config.domain).toBe('lan.example');
    expect(dhcp.lease?.renews).toBe((dhcp.lease?.obtained ?? 0) + 500_000);
    const discover = frames.find((f) => f.len > 300 && parseDhcp(f.buf, f.off + 42, f.len - 42));
    expect(discover && discover.len - 42).toBeGreaterThanOrEqual(300);
    const seen = discover && parseDhcp(discover.buf, discover.off + 42, discover.len - 42);
    expect(seen?.options.get(DhcpOption.CLIENT_ID)).toEqual(Uint8Array.of(0, 1, 2, 3));
    expect(new TextDecoder().decode(seen?.options.get(DhcpOption.HOST_NAME))).toBe('box');
    expect((await host.adapter.ready()).lease).toBe(dhcp.lease);
  });

  it('CORE-15: renews and rebinds at the times that the server gives', () => {
    const times = { 58: Uint8Array.of(0, 0, 0, 200), 59: Uint8Array.of(0, 0, 1, 44) };
    const { clock, dhcp } = network({ leaseTime: 1000, options: times });
    clock.advance(3000);
    const { obtained = 0, renews, rebinds } = dhcp.lease ?? {};
    expect([renews, rebinds]).toEqual([obtained + 200_000, obtained + 300_000]);
  });

  it('CORE-15: confirms a lease after the link was down, and releases it on closing', () => {
    const { clock, server, dhcp, host, hub } = network();
    clock.advance(3000);
    const { discovers, requests } = server.stats;
    host.disconnect();
    expect(dhcp.state).toBe('waiting');
    clock.advance(1000);
    // Through a tap too, a device sees that its cable is out, and in again.
    const undo = hub.connectL2(tap(host.adapter, () => {}, { clock }));
    clock.advance(3000);
    expect(dhcp.state).toBe('bound');
    undo();
    expect(dhcp.state).toBe('waiting');
    const unplug = hub.connectL2(impair(host.adapter, { clock }));
    clock.advance(3000);
    expect(dhcp.state).toBe('bound');
    unplug();
    expect(dhcp.state).toBe('waiting');
    hub.connectL2(host.adapter);
    clock.advance(3000);
    expect(server.stats).toMatchObject({ discovers, requests: requests + 3 });
    host.adapter.close();
    expect(server.stats.releases).toBe(1);
  });

  it('CORE-14: gives the address up in time also while it asks in vain for another', () => {
    const { clock, state, dhcp, host, hub, losses } = network({ leaseTime: 600 });
    clock.advance(2000);
    const { expires = 0 } = dhcp.lease ?? {};
    host.disconnect();
    clock.advance(400_000);
    state.lose = () => true;
    hub.connectL2(host.adapter);
    clock.advance(expires - 1 - clock.now);
    // By now the waits between two questions are a minute long.
    expect([dhcp.state, host.device.addrs.length]).toEqual(['selecting', 1]);
    clock.advance(1);
    expect([losses, host.device.addrs]).toEqual([['expired'], []]);
    state.lose = () => false;
    clock.advance(10_000);
    expect(dhcp.state).toBe('bound');
  });

  it('CORE-15: declines an address that somebody has', () => {
    const { clock, server, dhcp, losses, host: client, addHost } = network();
    addHost({ addrs: ['10.0.0.2/24'], ipv6: false });
    clock.advance(30_000);
    expect(dhcp.stats.conflicts).toBe(1);
    expect(server.stats.declines).toBe(1);
    // It never had the address: there was nothing to lose.
    expect(losses).toEqual([]);
    expect(client.device.addrs.map(String)).toEqual(['10.0.0.3/24']);
  });

  it('CORE-15: a server that only says no is asked less and less often', () => {
    const net = lan();
    const client = net.host({ dhcp: true, ipv6: false });
    const discovers: number[] = [];
    const refuser = new ScriptedServer((message) => {
      if (message.type === DhcpType.DISCOVER) discovers.push(net.clock.now);
      return message.type === DhcpType.DISCOVER ? DhcpType.OFFER : DhcpType.NAK;
    });
    net.hub.connectL2(refuser);
    net.clock.advance(600_000);
    expect(client.adapter.dhcp?.stats.naks).toBe(discovers.length);
    expect(discovers.length).toBeLessThan(16);
    expect(discovers.at(-1)! - discovers.at(-2)!).toBeGreaterThanOrEqual(64_000);
    expect(client.device.addrs).toEqual([]);
  });

  it('CORE-15: takes no ACK from a server that it did not choose', () => {
    const { clock, frames, server, dhcp, state, host } = network();
    // Offers pass, our server's ACKs do not; a rogue acknowledges instead.
    state.lose = (type) => type === DhcpType.ACK;
    clock.advance(1500);
    expect(dhcp.state).toBe('requesting');
    expect(server.stats.requests).toBeGreaterThan(0);
    // Even one that has seen the transaction id, for the very address that was asked for.
    const request = frames
      .map((f) => (f.len > 282 ? parseDhcp(f.buf, f.off + 42, f.len - 42) : null))
      .find((message) => message?.type === DhcpType.REQUEST);
    const yiaddr = request?.options.get(DhcpOption.REQUESTED_ADDRESS) as Uint8Array;
    const ack = (from: string) => {
      const bytes = new Uint8Array(600);
      const len = writeDhcp(bytes, 0, 548, {
        op: 2,
        type: DhcpType.ACK,
        xid: request?.xid ?? 0,
        hops: 0,
        secs: 0,
        broadcast: false,
        ciaddr: 0,
        yiaddr: IpAddr.read(4, yiaddr).v4,
        siaddr: 0,
        giaddr: 0,
        mac: host.adapter.mac.value,
        options: new Map([
          [DhcpOption.SERVER_ID, IpAddr.parse(from).toBytes()],
          [DhcpOption.LEASE_TIME, Uint8Array.of(0, 0, 255, 255)],
        ]),
      });
      dhcp.handleMessage(bytes, 0, len);
    };
    const before = dhcp.stats.dropUnexpected;
    ack('10.0.0.66');
    expect(dhcp.stats.dropUnexpected).toBe(before + 1);
    expect(dhcp.state).toBe('requesting');
    ack('10.0.0.1');
    expect(dhcp.state).toBe('checking');
  });
});

describe('a DHCP server that shares its address with the gateway', () => {
  it('CORE-19: a unicast renewal reaches it through the gateway’s adapter', () => {
    const net = lan();
    const gateway = net.host({
      addrs: ['10.0.0.1/24'],
      ipv6: false,
      dhcpServer: { routers: ['10.0.0.1'], leaseTime: 600 },
    });
    const client = net.host({ dhcp: true, ipv6: false });
    net.clock.advance(3000);
    expect(client.adapter.dhcp?.state).toBe('bound');
    const server = gateway.adapter.dhcpServer;
    net.frames.length = 0;
    net.clock.advance(302_000);
    expect(server?.stats.acks).toBe(2);
    // Not a broadcast among them: it was renewed before rebinding.
    expect(client.adapter.dhcp?.lease?.renews).toBeGreaterThan(net.clock.now);
    expect(gateway.received.length).toBe(0);
  });

  it('CORE-19: alone on a switch, it answers ARP for its address', () => {
    const net = lan();
    const server = new DhcpServer({ address: '10.0.0.1/24', leaseTime: 600, clock: net.clock });
    net.connect(server);
    const client = net.host({ dhcp: true, ipv6: false });
    net.clock.advance(305_000);
    expect(client.adapter.dhcp?.stats.retransmitted).toBe(0);
    expect(server.stats.acks).toBe(2);
    const text = new TextEncoder().encode('to the server');
    const packet = new Uint8Array(28 + text.length);
    writeIpv4(packet, 0, packet.length, 17, IpAddr.parse('10.0.0.2').w3, server.address.w3);
    client.inside.send(Packet.of(packet));
    net.clock.advance(3500);
    expect(client.adapter.stats.dropUnreachable).toBe(0);
  });

  it('CORE-20: servers that are told no address of their own do not clash', () => {
    const [a, b] = [1, 2].map(() => new DhcpServer({ address: '10.0.0.1/24' }));
    expect(a.mac.equals(b.mac)).toBe(false);
    expect(adapt(pipeL3()[0]).mac.equals(adapt(pipeL3()[0]).mac)).toBe(false);
  });
});

describe('hostile messages', () => {
  /** Changes bytes behind the transaction id, cuts the end off, or leaves it alone; the checksum becomes "none". */
  function mangle(frame: Frame, random: () => number): Frame {
    const bytes = frame.bytes.slice(0, frame.len - (random() % 4 === 0 ? random() % 60 : 0));
    for (let n = random() % 6; n > 0; n--) {
      // Mostly in the options: that is where the structure is.
      const from = random() % 4 === 0 ? 50 : 282;
      bytes[from + (random() % Math.max(1, bytes.length - from))] = random();
    }
    const length = bytes.length - 14;
    writeIpv4(bytes, 14, length, 17, IpAddr.read(4, bytes, 26).w3, IpAddr.read(4, bytes, 30).w3);
    bytes.set([(length - 20) >> 8, (length - 20) & 255, 0, 0], 38);
    return Frame.of(bytes);
  }

  it('never throw in a client, and the next good server is believed', () => {
    let received = 0;
    for (let seed = 1; seed <= 60; seed++) {
      const random = seeded(seed);
      const net = lan(seed);
      const [inner, outer] = pipeL2();
      const server = new DhcpServer({
        address: '10.0.0.1/24',
        routers: ['10.0.0.1'],
        dns: ['10.0.0.1'],
        leaseTime: 120,
        clock: net.clock,
      });
      let hostile = true;
      // Between the server and the switch: what the server says arrives mangled.
      inner.setHandler((frame) => server.send(frame));
      server.setHandler((frame) => {
        const answer = frame.etherType === 0x0800 && hostile ? mangle(frame, random) : frame;
        inner.send(answer);
      });
      net.connect(outer);
      const client = net.host({ dhcp: true, ipv6: false });
      net.clock.advance(3_600_000);
      received += client.adapter.dhcp?.stats.received ?? 0;
      hostile = false;
      net.clock.advance(3_600_000);
      // Bound, or still within the terms that the last mangled answer gave, however long those are.
      expect(client.adapter.dhcp?.state, `seed ${seed}`).toMatch(/^(bound|renewing|rebinding)$/);
      expect(client.device.addrs.length).toBe(1);
    }
    expect(received).toBeGreaterThan(1000);
  });

  it('never throw in a server, take no more than its range, and others get their lease', () => {
    const net = lan();
    const server = new DhcpServer({
      address: '10.0.0.1/24',
      range: ['10.0.0.10', '10.0.0.19'],
      leaseTime: 120,
      clock: net.clock,
    });
    net.connect(server);
    net.host({ dhcp: true, ipv6: false });
    net.clock.advance(300_000);
    // Unicast renewals pass the sniffer by: these are DISCOVER and REQUEST.
    const requests = net.frames.filter(
      ({ buf, off }) => buf[off + 23] === 17 && buf[off + 37] === 67,
    );
    expect(requests.length).toBe(2);
    const random = seeded(9);
    for (let i = 0; i < 20_000; i++) {
      net.forge(mangle(requests[random() % requests.length], random).bytes);
      net.clock.advance(random() % 50);
      net.frames.length = 0;
    }
    expect(server.leases.length).toBeLessThanOrEqual(10);
    const { discovers, requests: asked } = server.stats;
    expect(discovers + asked).toBeGreaterThan(1000);
    net.clock.advance(600_000);
    const late = net.host({ dhcp: true, ipv6: false });
    net.clock.advance(30_000);
    expect(late.adapter.dhcp?.state).toBe('bound');
  });
});
