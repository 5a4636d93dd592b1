/**
 * Configuration files as `wg` and `wg-quick` have them: wg(8) "CONFIGURATION FILE FORMAT" and wg-quick(8)
 * "CONFIGURATION". Every key of both is known. A file that was read can be changed and written back with its
 * comments, its order and its spelling.
 */

import { IpAddr, PktkitError, Prefix } from '@pktkit/core';
import { formatKey, parseKey } from './keys.ts';

export interface EndpointName {
  /** A name, or an address without brackets. */
  readonly host: string;
  readonly port: number;
}

export interface InterfaceConfig {
  /** Base64. `wg-quick` wants it; a file for `wg addconf` may lack it. */
  privateKey?: string | undefined;
  listenPort?: number | undefined;
  /** 0 is "off". */
  fwMark?: number | undefined;
  address: Prefix[];
  dns: IpAddr[];
  /** Entries of `DNS` that are not addresses. */
  dnsSearch: string[];
  mtu?: number | undefined;
  /** `auto`, `off`, or the number or name of a routing table. */
  table?: string | undefined;
  preUp: string[];
  postUp: string[];
  preDown: string[];
  postDown: string[];
  saveConfig?: boolean | undefined;
}

export interface PeerConfig {
  publicKey: string;
  presharedKey?: string | undefined;
  allowedIps: Prefix[];
  endpoint?: EndpointName | undefined;
  /** Seconds; 0 is "off". */
  persistentKeepalive?: number | undefined;
}

export interface WgConfig {
  interface: InterfaceConfig;
  peers: PeerConfig[];
}

/** `line` counts from 1. The message names it, and what was expected there. */
export class WgConfigError extends PktkitError {
  readonly line: number;

  constructor(line: number, message: string, options?: { cause?: unknown }) {
    super('WG_INVALID_CONFIG', `line ${line}: ${message}`, options);
    this.name = 'WgConfigError';
    this.line = line;
  }
}

type SectionName = 'Interface' | 'Peer';

interface Line {
  /** As it stands in the file. */
  text: string;
  /** Lower case; empty for comments, blank lines and section headers. */
  key: string;
  value: string;
}

interface Section {
  readonly name: SectionName;
  /** The line number of its header. */
  readonly at: number;
  /** Comments and blank lines right above the header: they go with the section. */
  readonly lead: string[];
  readonly header: string;
  readonly lines: Line[];
}

/** Longer ones are no configuration, and parsing is not free. */
const MAX_TEXT = 16 * 1024 * 1024;

/** Reads a configuration. Throws `WgConfigError`. */
export function parseConfig(text: string): WgConfig {
  return ConfigFile.parse(text).config;
}

/** Writes a configuration in the usual order of keys. */
export function formatConfig(config: WgConfig): string {
  const blocks = [['[Interface]', ...interfaceLines(config.interface).map(joined)]];
  for (const peer of config.peers) blocks.push(['[Peer]', ...peerLines(peer).map(joined)]);
  return `${blocks.map((lines) => lines.join('\n')).join('\n\n')}\n`;
}

/** A file that keeps what the format does not care for. */
export class ConfigFile {
  readonly #sections: Section[];
  readonly #tail: string[];
  #config: WgConfig;

  private constructor(sections: Section[], tail: string[], config: WgConfig) {
    this.#sections = sections;
    this.#tail = tail;
    this.#config = config;
  }

  static parse(text: string): ConfigFile {
    if (text.length > MAX_TEXT) {
      throw new WgConfigError(1, `a configuration has at most ${MAX_TEXT} characters`);
    }
    const sections: Section[] = [];
    const config: WgConfig = { interface: emptyInterface(), peers: [] };
    let lead: string[] = [];
    let section: Section | null = null;
    let reader: Reader | null = null;
    let hasInterface = false;
    const rows = text
      .replace(/\r\n/g, '\n')
      .replace(/^\uFEFF/, '')
      .split('\n');
    if (rows.at(-1) === '') rows.pop();
    rows.forEach((row, i) => {
      const content = row.split('#', 1)[0].trim();
      const at = i + 1;
      if (content === '') {
        // It may belong to the section that follows.
        lead.push(row);
        return;
      }
      if (content.startsWith('[')) {
        const name = sectionName(content, at);
        if (name === 'Interface' && hasInterface) {
          throw new WgConfigError(at, 'a second [Interface]: a file describes one interface');
        }
        hasInterface ||= name === 'Interface';
        reader?.finish();
        section = { name, at, lead: takeLead(section, lead), header: row, lines: [] };
        lead = [];
        sections.push(section);
        reader =
          name === 'Interface' ? interfaceReader(config.interface) : peerReader(config.peers, at);
        return;
      }
      const equals = content.indexOf('=');
      if (equals < 0) {
        throw new WgConfigError(at, `expected "Key = value", got ${JSON.stringify(content)}`);
      }
      if (section === null || reader === null) {
        throw new WgConfigError(at, 'expected [Interface] or [Peer] before the first key');
      }
      for (const text of lead) section.lines.push({ text, key: '', value: '' });
      lead = [];
      const name = content.slice(0, equals).trim();
      const value = content.slice(equals + 1).trim();
      section.lines.push({ text: row, key: name.toLowerCase(), value });
      reader.read(name, value, at);
    });
    (reader as Reader | null)?.finish();
    return new ConfigFile(sections, lead, config);
  }

  get config(): WgConfig {
    return this.#config;
  }

  /** Takes over another configuration: lines that say the same stay as they are, comments stay with what they are at. */
  update(config: WgConfig): void {
    const before = this.#sections.splice(0);
    const iface = before.find(({ name }) => name === 'Interface') ?? newSection('Interface', []);
    this.#sections.push(rewrite(iface, interfaceLines(config.interface)));
    const peers = before.filter(({ name }) => name === 'Peer');
    this.#config.peers.forEach(({ publicKey }, i) => {
      const peer = config.peers.find((other) => sameKey(other.publicKey, publicKey));
      if (peer !== undefined) this.#sections.push(rewrite(peers[i], peerLines(peer)));
    });
    for (const peer of config.peers) {
      if (this.#config.peers.some((other) => sameKey(other.publicKey, peer.publicKey))) continue;
      this.#sections.push(rewrite(newSection('Peer', ['']), peerLines(peer)));
    }
    this.#config = parseConfig(this.toString());
  }

  toString(): string {
    const rows: string[] = [];
    for (const { lead, header, lines } of this.#sections) {
      rows.push(...lead, header, ...lines.map(({ text }) => text));
    }
    rows.push(...this.#tail);
    return rows.length === 0 ? '' : `${rows.join('\n')}\n`;
  }
}

/** Reads `host:port` or `[IPv6]:port`; null when it is neither. */
export function parseEndpoint(text: string): EndpointName | null {
  const match = /^(?:\[([^\]]+)\]|([^:[\]\s]+)):([0-9]{1,5})$/.exec(text);
  if (match === null) return null;
  const port = Number(match[3]);
  if (port < 1 || port > 65535) return null;
  const host = match[1] ?? match[2];
  if (match[1] !== undefined && IpAddr.tryParse(host.split('%', 1)[0])?.family !== 6) return null;
  // Digits and dots alone are meant as an address.
  if (match[1] === undefined && /^[0-9.]+$/.test(host) && IpAddr.tryParse(host) === null)
    return null;
  return { host, port };
}

export function formatEndpoint({ host, port }: EndpointName): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

interface Reader {
  read(name: string, value: string, at: number): void;
  finish(): void;
}

function emptyInterface(): InterfaceConfig {
  return {
    address: [],
    dns: [],
    dnsSearch: [],
    preUp: [],
    postUp: [],
    preDown: [],
    postDown: [],
  };
}

function interfaceReader(config: InterfaceConfig): Reader {
  const read = (name: string, value: string, at: number) => {
    switch (name.toLowerCase()) {
      case 'privatekey':
        config.privateKey = readKey(name, value, at);
        return;
      case 'listenport':
        config.listenPort = readInteger(name, value, at, 0, 65535, 'a port from 0 to 65535');
        return;
      case 'fwmark':
        config.fwMark = readMark(name, value, at);
        return;
      case 'address':
        config.address.push(...readPrefixes(name, value, at));
        return;
      case 'dns':
        for (const entry of split(value)) {
          const address = IpAddr.tryParse(entry);
          if (address !== null) config.dns.push(address);
          else if (/^[A-Za-z0-9_.-]+$/.test(entry)) config.dnsSearch.push(entry);
          else throw expected(name, 'addresses or search domains', entry, at);
        }
        return;
      case 'mtu':
        config.mtu = readInteger(name, value, at, 576, 65535, 'an MTU from 576 to 65535');
        return;
      case 'table':
        if (!/^[A-Za-z0-9_-]+$/.test(value)) {
          throw expected(name, '"auto", "off" or a routing table', value, at);
        }
        config.table = value;
        return;
      case 'preup':
        config.preUp.push(value);
        return;
      case 'postup':
        config.postUp.push(value);
        return;
      case 'predown':
        config.preDown.push(value);
        return;
      case 'postdown':
        config.postDown.push(value);
        return;
      case 'saveconfig':
        if (value !== 'true' && value !== 'false') {
          throw expected(name, '"true" or "false"', value, at);
        }
        config.saveConfig = value === 'true';
        return;
      default:
        throw new WgConfigError(
          at,
          `unknown key ${JSON.stringify(name)} in [Interface]: expected PrivateKey, ListenPort, FwMark, Address, DNS, ` +
            'MTU, Table, PreUp, PostUp, PreDown, PostDown or SaveConfig',
        );
    }
  };
  return { read, finish: () => {} };
}

function peerReader(peers: PeerConfig[], header: number): Reader {
  const peer: PeerConfig = { publicKey: '', allowedIps: [] };
  peers.push(peer);
  const read = (name: string, value: string, at: number) => {
    switch (name.toLowerCase()) {
      case 'publickey':
        peer.publicKey = readKey(name, value, at);
        if (peers.some((other) => other !== peer && other.publicKey === peer.publicKey)) {
          throw new WgConfigError(at, 'a second [Peer] with this PublicKey');
        }
        return;
      case 'presharedkey':
        peer.presharedKey = readKey(name, value, at);
        return;
      case 'allowedips':
        peer.allowedIps.push(...readPrefixes(name, value, at));
        return;
      case 'endpoint': {
        const endpoint = parseEndpoint(value);
        if (endpoint === null) {
          throw expected(name, 'host:port or [IPv6 address]:port', value, at);
        }
        peer.endpoint = endpoint;
        return;
      }
      case 'persistentkeepalive':
        peer.persistentKeepalive =
          value.toLowerCase() === 'off'
            ? 0
            : readInteger(name, value, at, 0, 65535, 'seconds from 0 to 65535, or "off"');
        return;
      default:
        throw new WgConfigError(
          at,
          `unknown key ${JSON.stringify(name)} in [Peer]: expected PublicKey, PresharedKey, AllowedIPs, Endpoint or ` +
            'PersistentKeepalive',
        );
    }
  };
  const finish = () => {
    if (peer.publicKey === '') throw new WgConfigError(header, 'this [Peer] has no PublicKey');
  };
  return { read, finish };
}

function sectionName(content: string, at: number): SectionName {
  switch (content.toLowerCase()) {
    case '[interface]':
      return 'Interface';
    case '[peer]':
      return 'Peer';
    default:
      throw new WgConfigError(at, `expected [Interface] or [Peer], got ${JSON.stringify(content)}`);
  }
}

/** Of what stands above a header, comments up to the last blank line are the previous section's. */
function takeLead(previous: Section | null, lead: string[]): string[] {
  if (previous === null) return lead;
  const blank = lead.findIndex((row) => row.trim() === '');
  const own = blank < 0 ? [] : lead.splice(blank);
  for (const text of lead) previous.lines.push({ text, key: '', value: '' });
  return own;
}

function expected(name: string, what: string, got: string, at: number): WgConfigError {
  return new WgConfigError(at, `${name}: expected ${what}, got ${JSON.stringify(got)}`);
}

function readKey(name: string, value: string, at: number): string {
  try {
    return formatKey(parseKey(value));
  } catch (cause) {
    throw new WgConfigError(at, `${name}: ${(cause as Error).message}`, { cause });
  }
}

function readInteger(
  name: string,
  value: string,
  at: number,
  min: number,
  max: number,
  what: string,
): number {
  const number = /^[0-9]{1,10}$/.test(value) ? Number(value) : Number.NaN;
  if (!(number >= min && number <= max)) throw expected(name, what, value, at);
  return number;
}

function readMark(name: string, value: string, at: number): number {
  if (value.toLowerCase() === 'off') return 0;
  const what = 'a mark of 32 bits such as 51820 or 0xca6c, or "off"';
  if (/^0x[0-9a-fA-F]{1,8}$/.test(value)) return Number.parseInt(value, 16);
  return readInteger(name, value, at, 0, 0xffffffff, what);
}

function readPrefixes(name: string, value: string, at: number): Prefix[] {
  return split(value).map((entry) => {
    try {
      return Prefix.parse(entry);
    } catch {
      throw expected(name, 'prefixes such as 10.0.0.0/24 or fd00::/64', entry, at);
    }
  });
}

function split(value: string): string[] {
  return value
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
}

function interfaceLines(config: InterfaceConfig): Array<[string, string]> {
  const lines: Array<[string, string]> = [];
  const list = (key: string, values: readonly unknown[]) => {
    if (values.length > 0) lines.push([key, values.join(', ')]);
  };
  const each = (key: string, values: readonly string[]) => {
    for (const value of values) lines.push([key, value]);
  };
  const one = (key: string, value: unknown) => {
    if (value !== undefined) lines.push([key, String(value)]);
  };
  one('PrivateKey', config.privateKey);
  list('Address', config.address);
  one('ListenPort', config.listenPort);
  one('FwMark', config.fwMark === 0 ? 'off' : hexMark(config.fwMark));
  list('DNS', [...config.dns, ...config.dnsSearch]);
  one('MTU', config.mtu);
  one('Table', config.table);
  each('PreUp', config.preUp);
  each('PostUp', config.postUp);
  each('PreDown', config.preDown);
  each('PostDown', config.postDown);
  one('SaveConfig', config.saveConfig);
  return lines;
}

function peerLines(peer: PeerConfig): Array<[string, string]> {
  const lines: Array<[string, string]> = [['PublicKey', peer.publicKey]];
  if (peer.presharedKey !== undefined) lines.push(['PresharedKey', peer.presharedKey]);
  if (peer.allowedIps.length > 0) lines.push(['AllowedIPs', peer.allowedIps.join(', ')]);
  if (peer.endpoint !== undefined) lines.push(['Endpoint', formatEndpoint(peer.endpoint)]);
  if (peer.persistentKeepalive !== undefined) {
    const seconds = peer.persistentKeepalive;
    lines.push(['PersistentKeepalive', seconds === 0 ? 'off' : String(seconds)]);
  }
  return lines;
}

function hexMark(mark: number | undefined): string | undefined {
  return mark === undefined ? undefined : `0x${mark.toString(16)}`;
}

function joined([key, value]: [string, string]): string {
  return `${key} = ${value}`;
}

function newSection(name: SectionName, lead: string[]): Section {
  return { name, at: 0, lead, header: `[${name}]`, lines: [] };
}

/** The section with these values: an old line is kept when the values of its key are the same as before. */
function rewrite(section: Section, wanted: Array<[string, string]>): Section {
  const keys = new Map<string, string[]>();
  for (const [key, value] of wanted) {
    const values = keys.get(key.toLowerCase()) ?? [];
    values.push(value);
    keys.set(key.toLowerCase(), values);
  }
  const lines: Line[] = [];
  const done = new Set<string>();
  for (const line of section.lines) {
    if (line.key === '') {
      lines.push(line);
      continue;
    }
    const before = section.lines.filter(({ key }) => key === line.key).map(({ value }) => value);
    const values = keys.get(line.key) ?? [];
    if (canonical(line.key, before) === canonical(line.key, values)) {
      lines.push(line);
    } else if (!done.has(line.key)) {
      // The first line of a key that changed takes all its new values, and keeps its comment.
      const hash = line.text.indexOf('#');
      const name = line.text.split('=', 1)[0].trim();
      values.forEach((value, i) => {
        const comment = i === 0 && hash >= 0 ? ` ${line.text.slice(hash)}` : '';
        lines.push({ text: `${name} = ${value}${comment}`, key: line.key, value });
      });
    }
    done.add(line.key);
  }
  const added = wanted.filter(([key]) => !done.has(key.toLowerCase()));
  for (const pair of added) {
    lines.push({ text: joined(pair), key: pair[0].toLowerCase(), value: pair[1] });
  }
  return { ...section, lines };
}

/** Values of one key, however they are spread over lines and spelled. */
function canonical(key: string, values: readonly string[]): string {
  switch (key) {
    case 'allowedips':
    case 'address':
    case 'dns':
      return values.flatMap(split).map(canonicalAddress).join(',');
    case 'privatekey':
    case 'publickey':
    case 'presharedkey':
      return values.map((value) => formatKey(parseKey(value))).join(',');
    case 'fwmark':
      return values.map((value) => String(readMark(key, value, 0))).join(',');
    case 'persistentkeepalive':
      return values.map((value) => (value.toLowerCase() === 'off' ? '0' : value)).join(',');
    default:
      return values.join('\n');
  }
}

function canonicalAddress(text: string): string {
  const address = IpAddr.tryParse(text);
  if (address !== null) return `${address}/${address.family === 4 ? 32 : 128}`;
  return text.includes('/') ? Prefix.parse(text).toString() : text;
}

function sameKey(a: string, b: string): boolean {
  return a === b || formatKey(parseKey(a)) === formatKey(parseKey(b));
}
