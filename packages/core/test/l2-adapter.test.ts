import { DhcpServer } from '@pktkit/core';
import { describe, expect, it } from 'vitest';
import { lan, seeded, udp4, udp6 } from './lan.ts';

describe('adapters on a hub', () => {
  it('resolve each other and deliver, both families', () => {
    const net = lan();
    const a = net.host({ addrs: ['10.0.0.1/24', 'fd00::1/64'] });
    const b = net.host({ addrs: ['10.0.0.2/24', 'fd00::2/64'] });
    net.clock.advance(3000);
    a.send(udp4('10.0.0.1', '10.0.0.2', 'four'));
    a.send(udp6('fd00::1', 'fd00::2', 'six'));
    expect(b.texts()).toEqual(['four', 'six']);
    b.send(udp4('10.0.0.2', '10.0.0.1', 'back'));
    expect(a.texts()).toEqual(['back']);
  });

  it('give a lease from a server on the same hub', () => {
    const net = lan();
    const server = new DhcpServer({
      address: '10.0.0.2/24',
      routers: ['10.0.0.1'],
      dns: ['10.0.0.1'],
      clock: net.clock,
      random: seeded(7),
    });
    net.hub.connectL2(server);
    const a = net.host({ dhcp: true, ipv6: false });
    net.clock.advance(2000);
    expect(a.adapter.dhcp?.state).toBe('bound');
    expect(a.device.addrs.map(String)).toEqual(['10.0.0.3/24']);
    expect(a.adapter.config.gateway4?.toString()).toBe('10.0.0.1');
    expect(server.leases.map((lease) => lease.address.toString())).toEqual(['10.0.0.3']);
  });
});
