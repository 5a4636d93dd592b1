import { IpAddr, pipeL3, sendL3 } from '@pktkit/core';
import { VirtualClock } from '@pktkit/testkit';
import { expect, it } from 'vitest';
import { TcpStack } from '../src/index.ts';

it('the example of the README works', () => {
  const clock = new VirtualClock();
  const [left, right] = pipeL3();
  const client = new TcpStack({ clock, output: (packet) => sendL3(left, packet) });
  const server = new TcpStack({ clock, output: (packet) => sendL3(right, packet) });
  left.setHandler((packet) => client.handlePacket(packet));
  right.setHandler((packet) => server.handlePacket(packet));
  server.listen({
    port: 7,
    onConnection(connection) {
      connection.onReadable = () => {
        const bytes = connection.peek();
        connection.consume(connection.write(bytes));
      };
      connection.onEnd = () => connection.close();
    },
  });
  const local = IpAddr.parse('10.0.0.1');
  const remote = IpAddr.parse('10.0.0.2');
  const connection = client.connect({ local, remote, remotePort: 7 });
  const log: unknown[] = [];
  connection.onConnected = () => connection.write(new TextEncoder().encode('hello'));
  connection.onReadable = () => {
    log.push(new TextDecoder().decode(connection.peek()));
    connection.consume(connection.readable);
    connection.close();
  };
  connection.onClosed = (error) => log.push(error ?? 'closed');
  clock.advance(10);
  expect(log).toEqual(['hello', 'closed']);
});
