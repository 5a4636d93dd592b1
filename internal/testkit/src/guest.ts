/**
 * A real guest: Debian's cloud kernel and a busybox initramfs that is built here, on an emulated CPU. Needs no root and
 * no disk image. The kernel package is taken apart, not installed, and kept in the folder `.cache` of this package.
 */

import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Netns } from './netns.ts';
import { type BackgroundProcess, run, spawn } from './process.ts';
import { findTool } from './requirements.ts';

const CACHE = join(import.meta.dirname, '..', '.cache');
/** What virtio-net needs, each after what it depends on. */
const MODULES = [
  'drivers/virtio/virtio_ring.ko',
  'drivers/virtio/virtio.ko',
  'drivers/virtio/virtio_pci_modern_dev.ko',
  'drivers/virtio/virtio_pci_legacy_dev.ko',
  'drivers/virtio/virtio_pci.ko',
  'net/core/failover.ko',
  'drivers/net/net_failover.ko',
  'drivers/net/virtio_net.ko',
];

export interface GuestKernel {
  vmlinuz: string;
  modules: string[];
}

/** The kernel, downloaded and unpacked at the first call. Rejects when the package cannot be had. */
export async function guestKernel(): Promise<GuestKernel> {
  const folder = join(CACHE, 'kernel');
  if (!existsSync(folder)) await fetchKernel(folder);
  const vmlinuz = readdirSync(join(folder, 'boot')).find((name) => name.startsWith('vmlinuz-'));
  if (vmlinuz === undefined) throw new Error(`no kernel in ${folder}: remove that folder`);
  const tree = join(folder, 'lib/modules', vmlinuz.slice('vmlinuz-'.length), 'kernel');
  return {
    vmlinuz: join(folder, 'boot', vmlinuz),
    modules: MODULES.map((name) => join(tree, name)),
  };
}

async function fetchKernel(folder: string): Promise<void> {
  mkdirSync(CACHE, { recursive: true });
  const work = mkdtempSync(join(CACHE, 'fetch-'));
  try {
    const { stdout } = await run('apt-cache', ['depends', 'linux-image-cloud-amd64']);
    const name = /linux-image-\d\S*/.exec(stdout)?.[0];
    if (name === undefined) throw new Error(`linux-image-cloud-amd64 names no kernel:\n${stdout}`);
    await run('apt-get', ['download', name], { cwd: work, timeout: 120_000 });
    const deb = readdirSync(work).find((file) => file.endsWith('.deb'))!;
    await run('dpkg', ['-x', join(work, deb), join(work, 'x')]);
    // Whole or not at all: another run may look at the same moment.
    renameSync(join(work, 'x'), folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

const INIT = `#!/bin/sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for name in ${MODULES.map((name) => name.split('/').at(-1)).join(' ')}; do insmod /modules/$name; done
ip link set lo up
ip link set eth0 up
echo "guest: up at $(cut -d' ' -f1 /proc/uptime)"
. /script
echo "guest: script done"
sync
poweroff -f
`;

/** What udhcpc does with a lease: address, router, resolver. */
const UDHCPC_SCRIPT = `#!/bin/sh
case "$1" in
  bound|renew)
    ip addr replace "$ip/$mask" dev "$interface"
    for r in $router; do ip route replace default via "$r"; done
    : > /etc/resolv.conf
    for d in $dns; do echo "nameserver $d" >> /etc/resolv.conf; done
    echo "guest: lease ip=$ip router=$router dns=$dns seconds=$lease" ;;
esac
`;

export interface GuestOptions {
  /** As `stream,id=n0,server=off,addr.type=unix,addr.path=…`; the identifier must be `n0`. */
  netdev: string;
  /** Runs in the guest when its interface is up; a POSIX shell with busybox. */
  script: string;
  /** Where QEMU itself runs; here unless told. */
  netns?: Netns | undefined;
  mac?: string | undefined;
  /** Programs of this machine that the script runs, by name; each is copied with the libraries that it names. */
  programs?: readonly string[] | undefined;
}

/** Boots a guest. Its console is the process's standard output; the machine powers off when the script ends. */
export async function bootGuest(options: GuestOptions): Promise<BackgroundProcess> {
  const { netdev, script, netns, mac = '52:54:00:12:34:56', programs = [] } = options;
  const kernel = await guestKernel();
  const initrd = await buildInitramfs(kernel, script, programs);
  const args = [
    ...['-M', 'pc', '-accel', 'tcg', '-m', '256', '-nodefaults', '-no-reboot', '-display', 'none'],
    ...['-serial', 'stdio', '-kernel', kernel.vmlinuz, '-initrd', initrd],
    ...['-append', 'console=ttyS0 quiet panic=-1'],
    ...['-netdev', netdev, '-device', `virtio-net-pci,netdev=n0,mac=${mac},romfile=`],
  ];
  const start = netns === undefined ? spawn : netns.spawn.bind(netns);
  const guest = start('qemu-system-x86_64', args);
  void guest.exited.then(() => rmSync(initrd, { force: true }));
  return guest;
}

async function buildInitramfs(
  kernel: GuestKernel,
  script: string,
  programs: readonly string[],
): Promise<string> {
  const root = mkdtempSync(join(tmpdir(), 'pktkit-initramfs-'));
  try {
    for (const folder of ['bin', 'proc', 'sys', 'dev', 'tmp', 'etc', 'modules', 'etc/udhcpc']) {
      mkdirSync(join(root, folder), { recursive: true });
    }
    copyFileSync(realpathSync(findTool('busybox')!), join(root, 'bin/busybox'));
    symlinkSync('busybox', join(root, 'bin/sh'));
    for (const path of kernel.modules) {
      copyFileSync(path, join(root, 'modules', path.split('/').at(-1)!));
    }
    for (const program of programs) await copyProgram(root, program);
    writeFileSync(join(root, 'init'), INIT, { mode: 0o755 });
    writeFileSync(join(root, 'script'), script);
    const udhcpc = join(root, 'etc/udhcpc/default.script');
    writeFileSync(udhcpc, UDHCPC_SCRIPT, { mode: 0o755 });
    const hash = createHash('sha256').update(root).digest('hex').slice(0, 12);
    const image = join(tmpdir(), `pktkit-initramfs-${hash}.cpio`);
    await run('sh', ['-c', 'find . | cpio --quiet -o -H newc > "$1"', 'sh', image], { cwd: root });
    return image;
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

/** Copies a program to `/bin`, and its libraries and its loader to where it looks for them. */
async function copyProgram(root: string, name: string): Promise<void> {
  const path = findTool(name);
  if (path === null) throw new Error(`the guest needs ${name}, which is not installed here`);
  copyFileSync(realpathSync(path), join(root, 'bin', name));
  const { stdout } = await run('ldd', [path]);
  for (const [, library] of stdout.matchAll(/(\/\S+) \(0x/g)) {
    mkdirSync(join(root, dirname(library)), { recursive: true });
    copyFileSync(realpathSync(library), join(root, library));
  }
}
