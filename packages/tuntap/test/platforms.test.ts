import { fromHex, Packet, Prefix, toHex } from '@pktkit/core';
import { controlAddress, controlInfo, isUtunPacket, type UtunPort, utunUnit } from '@pktkit/hostio';
import { l3DeviceSuite, until } from '@pktkit/testkit';
import { openIpDevice, openTap, openTun, openUtunDevice, UtunDevice } from '@pktkit/tuntap';
import { afterEach, describe, expect, it, vi } from 'vitest';

afterEach(() => {
  vi.restoreAllMocks();
});

/** 24 bytes of payload behind an IPv4 and an IPv6 header. */
const V4 = fromHex(`4500002c000100004001f9a10a0000020a000001${'00'.repeat(24)}`);
const V6 = fromHex(
  `6000000000183a40${'fd'}${'00'.repeat(15)}${'fd'}${'00'.repeat(15)}${'00'.repeat(24)}`,
);

class FakePort implements UtunPort {
  readonly name = 'utun7';
  readonly index = 19;
  readonly written: Uint8Array[] = [];
  onData: (bytes: Uint8Array) => void = () => {};
  closed = 0;
  full = false;

  write(bytes: Uint8Array): boolean {
    if (!this.full) this.written.push(bytes.slice());
    return !this.full;
  }

  hold(): void {}

  close(): void {
    this.closed++;
  }
}

/** In the form of macOS's ifconfig(8). */
const IFCONFIG = `utun7: flags=8051<UP,POINTOPOINT,RUNNING,MULTICAST> mtu 1420
	inet 10.0.0.1 --> 10.0.0.1 netmask 0xffffff00
	inet 10.9.0.1 --> 10.9.0.2 netmask 0xffffffff
	inet6 fe80::aede:48ff:fe00:1122%utun7 prefixlen 64 scopeid 0x13
	inet6 fd00::1 prefixlen 64
	nd6 options=201<PERFORMNUD,DAD>
`;

function utun(options = {}): { device: UtunDevice; port: FakePort; commands: string[] } {
  const port = new FakePort();
  const commands: string[] = [];
  const device = new UtunDevice(options, port, (command, args) => {
    commands.push([command, ...args].join(' '));
    return IFCONFIG;
  });
  return { device, port, commands };
}

describe('utun of macOS', () => {
  it('asks for the control by name and connects to its unit', () => {
    const info = controlInfo();
    expect(info.length).toBe(100);
    expect(toHex(info.subarray(0, 31))).toBe(
      // 0, then "com.apple.net.utun_control".
      '00000000636f6d2e6170706c652e6e65742e7574756e5f636f6e74726f6c00',
    );
    // struct sockaddr_ctl of xnu's sys/kern_control.h, little-endian, for utun4 and control number 3.
    expect(toHex(controlAddress(3, utunUnit('utun4')))).toBe(
      `2020020003000000${'05000000'}${'00'.repeat(20)}`,
    );
    expect(utunUnit(undefined)).toBe(0);
    expect(utunUnit('utun0')).toBe(1);
    expect(() => utunUnit('tun0')).toThrow(/utun0/);
  });

  it('puts the family in front of each packet, and checks it', () => {
    const { device, port } = utun();
    device.send(Packet.of(V4));
    device.send(new Packet(fromHex(`ffff${toHex(V6)}`), 2, V6.length));
    expect(port.written.map(toHex)).toEqual([`00000002${toHex(V4)}`, `0000001e${toHex(V6)}`]);
    const seen: string[] = [];
    device.setHandler((packet) => seen.push(toHex(packet.bytes)));
    for (const bytes of port.written) port.onData(bytes);
    expect(seen).toEqual([toHex(V4), toHex(V6)]);
    for (const bad of [
      '',
      '00000002',
      `0000001e${toHex(V4)}`,
      `00000002${toHex(V6)}`,
      `02000000${toHex(V4)}`,
    ]) {
      port.onData(fromHex(bad));
      expect(isUtunPacket(fromHex(bad), 0, bad.length / 2)).toBe(false);
    }
    expect(seen.length).toBe(2);
    port.full = true;
    device.send(Packet.of(V4));
    device.send(new Packet(V4, 0, V4.length, 0x10000));
    expect(device.stats).toMatchObject({ reads: 2, writes: 2, dropMalformed: 6, dropRefused: 1 });
    device.close();
    device.close();
    device.send(Packet.of(V4));
    port.onData(fromHex(`00000002${toHex(V4)}`));
    expect(port.closed).toBe(1);
    expect(device.stats).toMatchObject({ reads: 2, dropClosed: 1 });
  });

  it('is configured by ifconfig and route', () => {
    const { device, commands } = utun({ addrs: ['10.0.0.1/24', 'fd00::1/64'], mtu: 1420 });
    device.addRoute({ dst: '10.5.0.0/16', via: '10.0.0.2' });
    device.addRoute({ dst: 'default', family: 6 });
    device.removeRoute({ dst: '10.5.0.0/16', via: '10.0.0.2' });
    device.setAddrs([Prefix.parse('fd00::1/64')]);
    expect(commands).toEqual([
      'ifconfig utun7 mtu 1420',
      'ifconfig utun7 up',
      'ifconfig utun7 inet 10.0.0.1/24 10.0.0.1 alias',
      'route -q -n add -inet 10.0.0.0/24 -interface utun7',
      'ifconfig utun7 inet6 fd00::1/64 alias',
      'route -q -n add -inet6 fd00::/64 -interface utun7',
      'route -q -n add -inet 10.5.0.0/16 10.0.0.2',
      'route -q -n add -inet6 ::/0 -interface utun7',
      'route -q -n delete -inet 10.5.0.0/16 10.0.0.2',
      'ifconfig utun7 inet 10.0.0.1 -alias',
    ]);
    expect(device.addrs.map(String)).toEqual(['fd00::1/64']);
    expect(device.mtu).toBe(1420);
  });

  it('reads what ifconfig prints', () => {
    const { device } = utun();
    expect(device.link()).toMatchObject({
      name: 'utun7',
      index: 19,
      mtu: 1420,
      up: true,
      carrier: true,
    });
    expect(
      device.addresses().map(({ prefix, peer, scope }) => `${prefix} ${peer} ${scope}`),
    ).toEqual([
      '10.0.0.1/24 null universe',
      '10.9.0.1/32 10.9.0.2 universe',
      'fe80::aede:48ff:fe00:1122/64 null link',
      'fd00::1/64 null universe',
    ]);
  });

  it('refuses what it cannot do, and closes then', () => {
    const port = new FakePort();
    expect(() => new UtunDevice({ persist: true }, port, () => '')).toThrow(/persist/);
    expect(port.closed).toBe(1);
    const { device } = utun();
    expect(() => device.addRoute({ dst: '10.0.0.0/8', metric: 3 })).toThrow(/metric/);
    expect(() => device.routes()).toThrow(/listing routes/);
    expect(() => device.setMac('02:00:00:00:00:01')).toThrow(/Ethernet/);
  });
});

l3DeviceSuite({ describe, it }, 'a utun device', () => {
  const { device, port } = utun();
  const received: Uint8Array[] = [];
  port.write = (bytes) => received.push(bytes.slice(4)) > 0;
  return {
    device,
    received,
    inject(bytes) {
      const datagram = new Uint8Array(4 + bytes.length);
      datagram.set([0, 0, 0, 2]);
      datagram.set(bytes, 4);
      port.onData(datagram);
    },
    until: (condition) => until(condition).then(() => {}),
    settle: () => Promise.resolve(),
  };
});

describe('other systems', () => {
  const on = (platform: NodeJS.Platform) =>
    vi.spyOn(process, 'platform', 'get').mockReturnValue(platform);

  it('TUN-05: Windows is told what is missing and what serves instead', () => {
    on('win32');
    for (const open of [openTun, openTap, openUtunDevice, openIpDevice]) {
      expect(() => open()).toThrow(
        expect.objectContaining({
          code: 'PKT_UNSUPPORTED',
          message: expect.stringMatching(/Windows.*Wintun.*need no device/),
        }),
      );
    }
  });

  it('TUN-05: macOS is led to utun, the BSDs are told', () => {
    on('darwin');
    expect(() => openTap()).toThrow(/macOS has only utun/);
    expect(() => openTun()).toThrow(/openUtunDevice/);
    on('freebsd');
    expect(() => openIpDevice()).toThrow(/made on Linux, this is freebsd/);
  });
});
