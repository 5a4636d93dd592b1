/**
 * What lies beyond a virtual LAN: a namespace in which the program under test runs, and behind a cable another one with a
 * real server. Addresses are those of documentation (RFC 5737, RFC 3849): nothing of this leaves the machine.
 */

import { fileURLToPath } from 'node:url';
import { type BackgroundProcess, Netns } from '@pktkit/testkit';

export const SERVER4 = '198.51.100.10';
export const SERVER6 = '2001:db8:51::10';
export const SERVER_PORT = 8000;
/** Routed to where nobody answers and nobody says so. */
export const BLACK_HOLE = '203.0.113.1';

const NODE = [process.execPath, '--import', 'tsx', '--conditions=@pktkit/source'] as const;

/** Starts a TypeScript file of this repository in a namespace, in a process of its own. */
function spawnNode(netns: Netns, file: string, args: readonly string[]): BackgroundProcess {
  const [node, ...flags] = NODE;
  const path = fileURLToPath(new URL(file, new URL('../../', import.meta.url)));
  // From here, because tsx is found from the working directory.
  return netns.spawn(node, [...flags, path, ...args], { cwd: import.meta.dirname });
}

export class World {
  /** Where the program under test runs; it has a route to the server. */
  readonly host: Netns;
  readonly server: Netns;

  private constructor(host: Netns, server: Netns) {
    this.host = host;
    this.server = server;
  }

  static async create(): Promise<World> {
    const host = await Netns.create({ label: 'host' });
    const server = await Netns.create({ label: 'server' });
    const world = new World(host, server);
    try {
      await host.veth(server, {
        name: 'up0',
        addrs: ['198.51.100.1/24', '2001:db8:51::1/64'],
        peerAddrs: [`${SERVER4}/24`, `${SERVER6}/64`],
        offload: true,
      });
      // The server's namespace does not forward: what is for others disappears there without a word.
      await host.ip('route', 'add', `${BLACK_HOLE}/32`, 'via', SERVER4);
      const files = spawnNode(server, 'e2e/support/file-server.child.ts', [String(SERVER_PORT)]);
      await files.waitFor(/listening/, 30_000);
      return world;
    } catch (error) {
      await world.close();
      throw error;
    }
  }

  /** Starts `pktkit` with these arguments where it has the route to the server. */
  pktkit(...args: string[]): BackgroundProcess {
    return spawnNode(this.host, 'packages/cli/src/main.ts', args);
  }

  /** Sockets of the kernel that are open where the program under test runs, those in TIME-WAIT aside. */
  async sockets(): Promise<string[]> {
    const { stdout } = await this.host.run('ss', ['-H', '-a', '-n', '-t', '-u', '-w', '-x', '-p']);
    return stdout.split('\n').filter((line) => /^\S/.test(line) && !/TIME-WAIT/.test(line));
  }

  async interfaces(): Promise<string[]> {
    const links = await this.host.ipJson<{ ifname: string }[]>('link');
    return links.map(({ ifname }) => ifname).sort();
  }

  async close(): Promise<void> {
    await this.host.close();
    await this.server.close();
  }
}
