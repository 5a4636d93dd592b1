/** DNS messages over the client's own UDP and TCP. */

import type { Clock, IpAddr } from '@pktkit/core';
import type { TcpConnection } from '@pktkit/vtcp';
import type { UdpMessage, UdpSocketOptions, VUdpSocket } from '../udp-socket.ts';
import type { DnsServer, DnsTransport } from './resolver.ts';

/** What the transport uses of its host. Both throw when there is no address of that family. */
export interface DnsHost {
  readonly clock: Clock;
  openUdp(server: DnsServer, options: UdpSocketOptions): VUdpSocket;
  openTcp(address: IpAddr, port: number): TcpConnection;
}

export function dnsTransport(host: DnsHost): DnsTransport {
  return {
    udp: (server, query, accept, timeout) => exchangeUdp(host, server, query, accept, timeout),
    tcp: (server, query, accept, timeout) => exchangeTcp(host, server, query, accept, timeout),
  };
}

/** Each query has a socket, and so a random source port, of its own (RFC 5452 §9.2). */
function exchangeUdp<T>(
  host: DnsHost,
  server: DnsServer,
  query: Uint8Array,
  accept: (message: Uint8Array) => T | null,
  timeout: number,
): Promise<T | null> {
  return new Promise((resolve) => {
    let socket: VUdpSocket | null = null;
    const timer = host.clock.timer(() => finish(null));
    const finish = (result: T | null) => {
      timer.cancel();
      socket?.close();
      resolve(result);
    };
    try {
      socket = host.openUdp(server, {
        onMessage: ({ data }: UdpMessage) => {
          const result = accept(data);
          // What does not belong to the query is passed over: the real answer may still come.
          if (result !== null) finish(result);
        },
        onError: () => finish(null),
      });
      timer.arm(host.clock.now + timeout);
      socket.send(query);
    } catch {
      finish(null);
    }
  });
}

/** Over TCP each message has its length in front (RFC 1035 §4.2.2). */
function exchangeTcp<T>(
  host: DnsHost,
  server: DnsServer,
  query: Uint8Array,
  accept: (message: Uint8Array) => T | null,
  timeout: number,
): Promise<T | null> {
  return new Promise((resolve) => {
    let connection: TcpConnection | null = null;
    let received = new Uint8Array(2 + 65535);
    let have = 0;
    const timer = host.clock.timer(() => finish(null));
    const finish = (result: T | null) => {
      timer.cancel();
      received = new Uint8Array(0);
      if (connection !== null) {
        connection.onClosed = () => {};
        connection.close();
      }
      resolve(result);
    };
    try {
      connection = host.openTcp(server.address, server.port);
    } catch {
      finish(null);
      return;
    }
    timer.arm(host.clock.now + timeout);
    connection.onConnected = (open) => {
      const framed = new Uint8Array(2 + query.length);
      framed[0] = query.length >>> 8;
      framed[1] = query.length;
      framed.set(query, 2);
      open.write(framed);
    };
    connection.onReadable = (open) => {
      while (open.readable > 0 && have < received.length) {
        have += open.read(received, have, received.length - have);
      }
      if (have < 2) return;
      const length = (received[0] << 8) | received[1];
      // One question was asked: the first message is the answer, or the server is not worth waiting for.
      if (have >= 2 + length) finish(accept(received.slice(2, 2 + length)));
    };
    connection.onEnd = () => finish(null);
    connection.onClosed = () => finish(null);
  });
}
