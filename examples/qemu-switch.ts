/**
 * A switch for QEMU guests: every guest that connects to the socket is a port of it. Pass the socket's path; end it with
 * Ctrl-C. Guests:
 *
 *     -netdev stream,id=n0,server=off,addr.type=unix,addr.path=PATH -device virtio-net-pci,netdev=n0
 */

import { L2Hub, serve } from '@pktkit/core';
import { listen } from '@pktkit/qemu';

const path = process.argv[2] ?? '/tmp/pktkit-switch.sock';
const hub = new L2Hub();
const listener = await listen({ path });
console.log(`guests connect to ${path}`);
process.once('SIGINT', () => {
  for (const guest of listener.guests) guest.close();
  void listener.close();
});
await serve(listener, hub, {
  onConnect: () => console.log(`a guest has joined: ${hub.portCount} on the switch`),
});
