/** Two ports of a switch, one captured for Wireshark. Run: `npx tsx examples/capture.ts`. */

import { appendFileSync } from 'node:fs';
import { Frame, L2Hub, MacAddr, pipeL2, tap } from '@pktkit/core';

const hub = new L2Hub();
const [alicePort, alice] = pipeL2();
const [bobPort, bob] = pipeL2();
hub.connectL2(alicePort);
hub.connectL2(tap(bobPort, (block) => appendFileSync('bob.pcapng', block))); // opens in Wireshark

bob.setHandler((frame) =>
  console.log('bob got', frame.len, 'bytes from', MacAddr.fromNumber(frame.src).toString()),
);

const frame = Frame.of(new Uint8Array(60));
frame.dst = bob.mac.value;
frame.src = alice.mac.value;
alice.send(frame); // bob got 60 bytes from …
