/** Scenes of starting and ending for `lifecycle.e2e.ts`, each in a process of its own: `lifecycle.child.ts SCENE`. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { bindUdp, reactorStats, type UdpSocket } from '@pktkit/hostio';
import { until } from '@pktkit/testkit';

const say = (text: string) => process.stdout.write(`${text}\n`);
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A socket that is never idle: it sends to itself whatever it receives, in several copies. */
async function busy(): Promise<UdpSocket> {
  const socket: UdpSocket = await bindUdp({
    io: 'batched',
    address: '127.0.0.1',
    onReceive: (buf, off, len, from) => socket.send(buf, off, len, from),
  });
  const self = socket.peer('127.0.0.1', socket.port);
  for (let i = 0; i < 32; i++) socket.send(new Uint8Array(1000), 0, 1000, self);
  return socket;
}

const idle = () => bindUdp({ io: 'batched', address: '127.0.0.1', onReceive: () => {} });

const startWorker = async (scene: string) => {
  // Node 20 does not hand `--import` on to workers: each loads the TypeScript loader by itself.
  const main = `import('tsx/esm/api').then((tsx) => (tsx.register(), import('${import.meta.url}')))`;
  const worker = new Worker(main, { eval: true, argv: [scene] });
  await new Promise((resolve) => worker.once('message', resolve));
  return worker;
};

const scenes: Record<string, () => Promise<void>> = {
  /** Ends by itself, since everything is closed. */
  async closed() {
    const sockets = await Promise.all([idle(), busy(), idle()]);
    await turn();
    for (const socket of sockets) socket.close();
  },
  /** Ends by itself though a socket is open. */
  async unref() {
    (await idle()).unref();
  },
  /** An open socket keeps the process alive: its timer, unreferenced, gets to run. */
  async held() {
    const socket = await idle();
    setTimeout(() => {
      say('still here');
      socket.close();
    }, 200).unref();
  },
  async exit() {
    await busy();
    await idle();
    setTimeout(() => process.exit(0), 50);
  },
  async 'uncaught error'() {
    await busy();
    setTimeout(() => {
      throw new Error('on purpose');
    }, 50);
  },
  /** Workers under traffic are terminated, leave by themselves, or go down with the process; nothing is left open. */
  async workers() {
    const count = () => readdirSync('/proc/self/fd').length;
    await (await startWorker('busy worker')).terminate();
    const before = count();
    for (let i = 0; i < 5; i++) {
      const worker = await startWorker(i % 2 === 0 ? 'busy worker' : 'idle worker');
      await worker.terminate();
      const leaver = await startWorker('leaving worker');
      leaver.postMessage('go');
      await new Promise((resolve) => leaver.once('exit', resolve));
    }
    say(`descriptors left: ${count() - before}`);
    await Promise.all([startWorker('busy worker'), startWorker('idle worker')]);
    setTimeout(() => process.exit(0), 50);
  },
  /** Reactors in many threads leave libuv's pool of four threads alone. */
  async pool() {
    const workers = await Promise.all(Array.from({ length: 6 }, () => startWorker('idle worker')));
    const own = await idle();
    const started = performance.now();
    for (let i = 0; i < 100; i++) await readFile(new URL(import.meta.url));
    say(`100 reads in ${Math.round(performance.now() - started)} ms`);
    await Promise.all(workers.map((worker) => worker.terminate()));
    own.close();
  },
  /** Signals that arrive in the middle of everything change nothing. */
  async signals() {
    let signals = 0;
    process.on('SIGUSR2', () => signals++);
    const socket = await busy();
    const storm = spawn('sh', ['-c', `for i in $(seq 2000); do kill -USR2 ${process.pid}; done`]);
    await once(storm, 'exit');
    const before = socket.stats.received;
    await until(() => signals > 0 && socket.stats.received > before);
    say('signals and traffic');
    process.removeAllListeners('SIGUSR2');
    socket.close();
  },
  /** A hundred open descriptors and nothing to do. */
  async 'idle cpu'() {
    const sockets = await Promise.all(Array.from({ length: 100 }, idle));
    await new Promise((resolve) => setTimeout(resolve, 500));
    const wakeups = reactorStats().wakeups;
    const before = process.cpuUsage();
    await new Promise((resolve) => setTimeout(resolve, 3000));
    const { user, system } = process.cpuUsage(before);
    say(
      `cpu ${((user + system) / 3e4).toFixed(3)} %, ${reactorStats().wakeups - wakeups} wake-ups`,
    );
    for (const socket of sockets) socket.close();
  },
  async 'busy worker'() {
    await busy();
    await turn();
    parentPort?.postMessage('up');
  },
  async 'idle worker'() {
    await idle();
    parentPort?.postMessage('up');
  },
  async 'leaving worker'() {
    const socket = await busy();
    parentPort?.once('message', () => socket.close());
    parentPort?.postMessage('up');
  },
};

const scene = process.argv[2];
if (isMainThread) setTimeout(() => say('TOO LONG'), 100_000).unref();
await scenes[scene]();
