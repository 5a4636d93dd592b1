/** Real servers on the host's loopback. */

import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';

export interface TcpServer {
  readonly port: number;
  readonly sockets: Set<Socket>;
  close(): void;
}

export async function tcpServer(
  onConnection: (socket: Socket) => void,
  host = '127.0.0.1',
): Promise<TcpServer> {
  const sockets = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    onConnection(socket);
  });
  server.listen(0, host);
  await once(server, 'listening');
  return {
    port: (server.address() as { port: number }).port,
    sockets,
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** A port of the loopback that nobody listens on. */
export async function closedPort(): Promise<number> {
  const server = await tcpServer(() => {});
  server.close();
  return server.port;
}

export async function udpServer(
  onMessage: (message: Buffer, reply: (data: Uint8Array) => void, port: number) => void,
  host = '127.0.0.1',
  port = 0,
): Promise<{ port: number; socket: UdpSocket; close(): void }> {
  const socket = createSocket({
    type: host.includes(':') ? 'udp6' : 'udp4',
    recvBufferSize: 1 << 20,
  });
  socket.on('message', (message, from) =>
    onMessage(message, (data) => socket.send(data, from.port, from.address), from.port),
  );
  socket.bind(port, host);
  await once(socket, 'listening');
  return { port: socket.address().port, socket, close: () => socket.close() };
}
