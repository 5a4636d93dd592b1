import Module from 'node:module';
import { describe, expect, it } from 'vitest';

// As if the optional dependency had not been installed. Before the package is loaded.
const loader = Module as unknown as { _load(request: string, ...rest: unknown[]): unknown };
const load = loader._load;
loader._load = (request, ...rest) => {
  if (request === 'koffi') throw new Error("Cannot find module 'koffi'");
  return load(request, ...rest);
};
const { bindUdp, openPacket, NetlinkSocket, TunDescriptor, tryLibc } = await import(
  '@pktkit/hostio'
);

const MISSING = { code: 'PKT_UNSUPPORTED', message: expect.stringMatching(/koffi|Linux only/) };

describe('without koffi', () => {
  it('UDP is portable by itself, and batched only where that can be', async () => {
    expect(tryLibc()).toBeNull();
    const onReceive = () => {};
    const socket = await bindUdp({ address: '127.0.0.1', onReceive });
    expect(socket.io).toBe('portable');
    socket.close();
    await expect(bindUdp({ io: 'batched', onReceive })).rejects.toMatchObject(MISSING);
  });

  it('what needs system calls says what is missing', () => {
    const tries = [
      () => openPacket({ interface: 'lo' }),
      () => new NetlinkSocket(),
      () =>
        TunDescriptor.open(
          { kind: 'tun' },
          () => {},
          () => {},
        ),
    ];
    for (const attempt of tries) expect(attempt).toThrow(expect.objectContaining(MISSING));
  });
});
