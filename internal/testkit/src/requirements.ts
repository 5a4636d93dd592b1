/**
 * What a real-peer test needs from the machine. Missing: the test is skipped and says so loudly; with
 * `PKTKIT_E2E=required`, as in CI, it fails instead.
 */

import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Where each tool comes from on Debian and Ubuntu; a tool that no suite names has no place here. */
export const TOOL_PACKAGES: Readonly<Record<string, string>> = {
  arping: 'iputils-arping',
  busybox: 'busybox-static',
  chromium: 'chromium',
  chrt: 'util-linux',
  cpio: 'cpio',
  curl: 'curl',
  dhclient: 'isc-dhcp-client',
  dnsmasq: 'dnsmasq-base',
  dumpcap: 'tshark',
  ethtool: 'ethtool',
  hping3: 'hping3',
  ip: 'iproute2',
  iperf3: 'iperf3',
  nsenter: 'util-linux',
  ping: 'iputils-ping',
  'qemu-system-x86_64': 'qemu-system-x86',
  ss: 'iproute2',
  sysctl: 'procps',
  tcpdump: 'tcpdump',
  tshark: 'tshark',
  udhcpc: 'udhcpc',
  unshare: 'util-linux',
  wg: 'wireguard-tools',
  'wireguard-go': 'wireguard-go',
};

export interface Requirements {
  /** Programs by name; each must be a key of `TOOL_PACKAGES`. */
  tools?: readonly string[] | undefined;
  /** Linux and root (namespaces, TAP): true unless told. */
  root?: boolean | undefined;
  /** Files that must exist, as `/dev/net/tun`. */
  files?: readonly string[] | undefined;
}

/** The part of node:test's and vitest's contexts that is used. */
interface SkippableTest {
  readonly name?: string;
  skip(message?: string): void;
}

/** The path of a program, looked for in PATH and in the folders for administrators; null without it. */
export function findTool(name: string): string | null {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin', '/usr/bin'];
  for (const folder of folders) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Try the next folder.
    }
  }
  return null;
}

/** What is missing, in words that say how to get it; empty when nothing is. */
export function missingRequirements(needs: Requirements): string[] {
  const out: string[] = [];
  if (needs.root !== false) {
    if (process.platform !== 'linux') out.push('Linux');
    else if (process.getuid?.() !== 0) out.push('root');
  }
  const absent: string[] = [];
  for (const tool of needs.tools ?? []) {
    const pack = TOOL_PACKAGES[tool];
    if (pack === undefined) throw new RangeError(`add ${tool} to TOOL_PACKAGES with its package`);
    if (findTool(tool) === null) absent.push(`${tool} (apt-get install ${pack})`);
  }
  out.push(...absent);
  for (const file of needs.files ?? []) if (!existsSync(file)) out.push(file);
  return out;
}

/**
 * Checks what the running test needs. True: go on. False: the test has been marked as skipped, return at once.
 * Throws instead of skipping with `PKTKIT_E2E=required`.
 *
 *     if (!requireTools(t, ['udhcpc', 'curl'])) return;
 */
export function requireTools(
  t: SkippableTest,
  tools: readonly string[],
  needs: Omit<Requirements, 'tools'> = {},
): boolean {
  const missing = missingRequirements({ ...needs, tools });
  if (missing.length === 0) return true;
  const what = `needs ${missing.join(', ')}`;
  if (process.env.PKTKIT_E2E === 'required') throw new Error(`PKTKIT_E2E=required: ${what}`);
  process.stderr.write(`\n*** SKIPPED ${t.name ?? 'a test'}: ${what} ***\n\n`);
  t.skip(what);
  return false;
}

/** `full`, or `quick` where a person wants an answer soon (`PKTKIT_E2E_QUICK=1`, as `npm test` sets). */
export function scaled(full: number, quick: number): number {
  return process.env.PKTKIT_E2E_QUICK === '1' ? quick : full;
}
