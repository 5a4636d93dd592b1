import { execFile } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { disconnect, Frame, type L2Device, serve } from '@pktkit/core';
import { dial, listen, type QemuDevice } from '@pktkit/qemu';
import { until } from '@pktkit/testkit';
import { afterEach, describe, expect, it } from 'vitest';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

let sockets = 0;
const socketPath = () => join(tmpdir(), `pktkit-listen-${process.pid}-${sockets++}.sock`);

describe('QemuListener', () => {
  it('QEMU-03: removes the socket file that a killed process left, and nothing else', async () => {
    const path = socketPath();
    cleanups.push(() => rmSync(path, { force: true }));
    // A listener in a process that is killed leaves its file.
    const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
    await promisify(execFile)(process.execPath, ['-e', script]).catch(() => {});
    expect(existsSync(path)).toBe(true);
    const listener = await listen({ path });
    await expect(listen({ path })).rejects.toMatchObject({ code: 'EADDRINUSE' });
    await listener.close();
    expect(existsSync(path)).toBe(false);
    writeFileSync(path, 'precious');
    await expect(listen({ path })).rejects.toThrow(/not a socket/);
    expect(existsSync(path)).toBe(true);
  });

  it('QEMU-03: a device that dials with `reconnect` outlives its peer', async () => {
    const path = socketPath();
    const dialled = dial({ path }, { reconnect: 20 });
    const first = await listen({ path });
    const device = await dialled;
    cleanups.push(() => device.close());
    const seen: number[] = [];
    const take = async (listener: typeof first) => {
      const { value } = await listener[Symbol.asyncIterator]().next();
      (value as QemuDevice).setHandler((frame) => seen.push(frame.len));
      return value as QemuDevice;
    };
    device.setHandler(() => {});
    const peer = await take(first);
    device.send(Frame.of(new Uint8Array(60)));
    await until(() => seen.length === 1);
    peer.close();
    await first.close();
    await until(() => !device.connected);
    device.send(Frame.of(new Uint8Array(60)));
    expect(device.stats.dropClosed).toBe(1);

    const second = await listen({ path });
    cleanups.push(() => second.close());
    await take(second);
    await until(() => device.connected);
    device.send(Frame.of(new Uint8Array(61)));
    await until(() => seen.length === 2);
    expect(seen).toEqual([60, 61]);
    expect(device.stats.reconnects).toBe(1);
    device.close();
    await device.closed;
    await until(() => second.guests.size === 0);
  });

  it('gives up dialling when told', async () => {
    const controller = new AbortController();
    const dialled = dial({ path: socketPath() }, { reconnect: 10, signal: controller.signal });
    controller.abort(new Error('enough'));
    await expect(dialled).rejects.toThrow('enough');
  });

  it('turns away what is above maxGuests and takes the next when one has left', async () => {
    const listener = await listen({ port: 0 }, { maxGuests: 2 });
    cleanups.push(() => listener.close());
    const dialled = [await dial(listener.address), await dial(listener.address)];
    await until(() => listener.guests.size === 2);
    const third = await dial(listener.address);
    third.setHandler(() => {});
    await third.closed;
    expect(listener.stats).toMatchObject({ accepted: 2, refused: 1 });
    for await (const device of listener) {
      device.setHandler(() => {});
      if (listener.guests.size === 2) break;
    }
    dialled[0].close();
    await until(() => listener.guests.size === 1);
    dialled.push(await dial(listener.address));
    await until(() => listener.guests.size === 2);
    for (const device of dialled) device.close();
  });

  it('CORE-20: serve goes on when the system cannot accept for a while', async () => {
    // A process with few descriptors uses them up, is dialled meanwhile, frees them and is dialled again.
    const script = `
      import { openSync, closeSync } from 'node:fs';
      import { disconnect, serve } from '@pktkit/core';
      import { listen } from '@pktkit/qemu';
      const listener = await listen({ path: process.argv[1] });
      let guests = 0;
      const hub = { connectL2(device) { guests++; device.setHandler((f) => device.send(f)); return disconnect(() => {}); } };
      serve(listener, hub).then(() => console.log('serve ended'), (e) => console.log('serve failed', e));
      const held = [];
      try { for (;;) held.push(openSync('/dev/null')); } catch {}
      process.stdin.on('data', () => { for (const fd of held.splice(0)) closeSync(fd); console.log('freed'); });
      console.log('ready');
    `;
    const path = socketPath();
    const child = execFile(
      'sh',
      [
        '-c',
        'ulimit -n 200; exec "$0" "$@"',
        process.execPath,
        ...['--import', 'tsx', '--conditions=@pktkit/source', '--input-type=module', '-e', script],
        path,
      ],
      { cwd: import.meta.dirname },
    );
    let output = '';
    child.stdout?.on('data', (text) => {
      output += text;
    });
    child.stderr?.on('data', (text) => {
      output += text;
    });
    cleanups.push(() => child.kill('SIGKILL'));
    await until(() => /ready/.test(output), { within: 20_000, what: () => `ready in ${output}` });
    // A descriptor or two may have become free behind the program's back: some guests use them up, the next one is shed.
    let shed = false;
    for (let guest = 0; guest < 20 && !shed; guest++) {
      let served = false;
      const early = await dial({ path });
      cleanups.push(() => early.close());
      early.setHandler(() => {
        served = true;
      });
      void early.closed.then(() => {
        shed = true;
      });
      early.send(Frame.of(new Uint8Array(60)));
      await until(() => served || shed, { what: () => `an end or an echo in ${output}` });
    }
    expect(shed).toBe(true);
    child.stdin?.write('free\n');
    await until(() => /freed/.test(output));
    const late = await dial({ path });
    cleanups.push(() => late.close());
    let echoed = 0;
    late.setHandler(() => {
      echoed++;
    });
    late.send(Frame.of(new Uint8Array(60)));
    await until(() => echoed === 1, { what: () => `an echo in ${output}` });
    expect(output).not.toMatch(/serve ended|serve failed/);
  });

  it('CORE-20: an error while accepting is counted and ends nothing', async () => {
    const sockets: Socket[] = [];
    const note = (message: unknown) => sockets.push((message as { socket: Socket }).socket);
    subscribe('net.server.socket', note);
    cleanups.push(() => unsubscribe('net.server.socket', note));
    const listener = await listen({ port: 0 });
    cleanups.push(() => listener.close());
    const first = await dial(listener.address);
    cleanups.push(() => first.close());
    await until(() => sockets.length === 1);
    // As Node reports what accept(2) says.
    const { server } = sockets[0] as Socket & { server: Server };
    server.emit('error', Object.assign(new Error('accept ECONNABORTED'), { code: 'ECONNABORTED' }));
    expect(listener.stats.acceptErrors).toBe(1);
    const second = await dial(listener.address);
    cleanups.push(() => second.close());
    await until(() => listener.stats.accepted === 2);
  });

  it('serves every guest, disconnects each when it leaves, ends with the listener', async () => {
    const listener = await listen({ port: 0, host: '127.0.0.1' });
    const events: string[] = [];
    const hub = {
      connectL2(device: L2Device) {
        events.push('in');
        device.setHandler(() => {});
        return disconnect(() => events.push('out'));
      },
    };
    const served = serve(listener, hub);
    const a = await dial(listener.address);
    const b = await dial(listener.address);
    await until(() => events.length === 2);
    a.close();
    await until(() => events.length === 3);
    b.close();
    await until(() => events.length === 4);
    expect(events).toEqual(['in', 'in', 'out', 'out']);
    await listener.close();
    await served;
    await expect(dial({ port: 1, host: '127.0.0.1' })).rejects.toThrow();
    expect(() => listener.address).toThrow(/closed/);
  });

  it('closes what nobody took', async () => {
    const path = socketPath();
    const listener = await listen({ path });
    const device = await dial({ path });
    device.setHandler(() => {});
    await until(() => listener.guests.size === 1);
    await listener.close();
    await device.closed;
    // A server of somebody else on the same path is left alone.
    const other = createServer().listen(path);
    await until(() => other.listening);
    await expect(listen({ path })).rejects.toMatchObject({ code: 'EADDRINUSE' });
    other.close();
  });
});
