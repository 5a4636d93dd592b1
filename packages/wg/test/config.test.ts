import { IpAddr, Prefix } from '@pktkit/core';
import {
  answerUapi,
  ConfigFile,
  derivePublicKey,
  formatConfig,
  formatKey,
  formatKeyHex,
  generatePresharedKey,
  generatePrivateKey,
  parseConfig,
  parseEndpoint,
  parseKey,
  type UapiPort,
  WgConfigError,
  WireGuard,
} from '@pktkit/wg';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Net, testProvider } from './lab.ts';

const KEY_A = 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=';
const KEY_B = 'xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=';
const KEY_C = 'TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=';

/** After the example of wg-quick(8), with every key. */
const FILE = `# Office gateway
[Interface]
PrivateKey = ${KEY_A} # do not share
Address = 10.192.122.1/24, fd00::1/64
address=10.10.0.1/16
ListenPort = 51820
FwMark = 0xca6c
DNS = 10.0.0.53, 2001:db8::53, corp.example
MTU = 1420
Table = auto
PreUp = echo pre %i
PostUp = ip rule add ipproto tcp dport 22 table 1234
PostUp = echo up
PreDown = echo down
PostDown = echo gone
SaveConfig = true

# Alice's phone
[Peer]
PublicKey = ${KEY_B}
PresharedKey = ${KEY_C}
AllowedIPs = 10.192.122.3/32, 10.192.124.1/24
AllowedIPs = fd00::3
# behind NAT
PersistentKeepalive = 25

# Bob
[Peer]
PublicKey = ${KEY_C}
Endpoint = [2001:db8::5]:51820
AllowedIPs =
PersistentKeepalive = off
# end
`;

describe('keys', () => {
  it('have one spelling in base64, and sixty-four digits', () => {
    const key = parseKey(KEY_A);
    expect(formatKey(key)).toBe(KEY_A);
    expect(parseKey(formatKeyHex(key))).toEqual(key);
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (bytes) => {
        const text = formatKey(bytes);
        expect(text).toBe(Buffer.from(bytes).toString('base64'));
        expect(parseKey(text)).toEqual(bytes);
      }),
    );
    for (const bad of [
      '',
      KEY_A.slice(1),
      `${KEY_A.slice(0, 42)}l=`,
      `${KEY_A}=`,
      'x'.repeat(44),
    ]) {
      expect(() => parseKey(bad)).toThrow(/32 bytes/);
    }
    // What may be a secret is not repeated in an error.
    expect(() => parseKey(`${KEY_A}x`)).not.toThrow(KEY_A);
  });

  it('generate and derive as wg genkey and wg pubkey do', () => {
    // `wg pubkey` says so.
    const publicKey = 'HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=';
    expect(formatKey(derivePublicKey(testProvider(), KEY_A))).toBe(publicKey);
    const key = generatePrivateKey();
    expect([key[0] & 7, key[31] & 0xc0]).toEqual([0, 0x40]);
    expect(generatePresharedKey()).not.toEqual(generatePresharedKey());
  });
});

describe('WG-14: configuration files', () => {
  it('are read with every key of wg and wg-quick', () => {
    const { interface: own, peers } = parseConfig(FILE);
    expect(own).toEqual({
      privateKey: KEY_A,
      address: ['10.192.122.1/24', 'fd00::1/64', '10.10.0.1/16'].map((text) => Prefix.parse(text)),
      listenPort: 51820,
      fwMark: 0xca6c,
      dns: [IpAddr.parse('10.0.0.53'), IpAddr.parse('2001:db8::53')],
      dnsSearch: ['corp.example'],
      mtu: 1420,
      table: 'auto',
      preUp: ['echo pre %i'],
      postUp: ['ip rule add ipproto tcp dport 22 table 1234', 'echo up'],
      preDown: ['echo down'],
      postDown: ['echo gone'],
      saveConfig: true,
    });
    expect(peers[0].allowedIps.map(String)).toEqual([
      '10.192.122.3/32',
      '10.192.124.1/24',
      'fd00::3/128',
    ]);
    expect(peers[0].presharedKey).toBe(KEY_C);
    expect(peers[1]).toEqual({
      publicKey: KEY_C,
      allowedIps: [],
      endpoint: { host: '2001:db8::5', port: 51820 },
      persistentKeepalive: 0,
    });
  });

  it('come back as they were, comments and all', () => {
    expect(ConfigFile.parse(FILE).toString()).toBe(FILE);
    expect(ConfigFile.parse('').toString()).toBe('');
    const config = parseConfig(FILE);
    expect(parseConfig(formatConfig(config))).toEqual(config);
  });

  it('keep comments when something changes', () => {
    const file = ConfigFile.parse(FILE);
    file.update(file.config);
    expect(file.toString()).toBe(FILE);
    const config = parseConfig(FILE);
    config.interface.listenPort = 4000;
    config.interface.privateKey = KEY_B;
    config.interface.saveConfig = undefined;
    config.peers[0].allowedIps.push(Prefix.parse('10.5.0.0/16'));
    config.peers[0].endpoint = { host: 'vpn.example', port: 1 };
    config.peers.splice(1, 1);
    config.peers.push({ publicKey: KEY_A, allowedIps: [Prefix.parse('10.6.0.0/16')] });
    file.update(config);
    expect(file.toString()).toBe(
      FILE.replace(`PrivateKey = ${KEY_A}`, `PrivateKey = ${KEY_B}`)
        .replace('ListenPort = 51820', 'ListenPort = 4000')
        .replace('SaveConfig = true\n', '')
        .replace(
          'AllowedIPs = 10.192.122.3/32, 10.192.124.1/24\nAllowedIPs = fd00::3\n',
          'AllowedIPs = 10.192.122.3/32, 10.192.124.1/24, fd00::3/128, 10.5.0.0/16\n',
        )
        .replace('Keepalive = 25\n', 'Keepalive = 25\nEndpoint = vpn.example:1\n')
        .replace(
          /\n# Bob[\s\S]*off\n/,
          `\n[Peer]\nPublicKey = ${KEY_A}\nAllowedIPs = 10.6.0.0/16\n`,
        ),
    );
  });

  it('with a bad line give its number and what was expected', () => {
    const cases: Array<[string, number, RegExp]> = [
      ['[Interface]\nPrivateKey = abc', 2, /PrivateKey: expected a key of 32 bytes/],
      ['[Interface]\n\nListenPort = 70000', 3, /ListenPort: expected a port from 0 to 65535/],
      ['[Interface]\nMTU = big', 2, /MTU from 576/],
      ['[Interface]\nAddress = 10.0.0.1/33', 2, /Address: expected prefixes/],
      ['[Interface]\nFwMark = 0xfffffffff', 2, /mark of 32 bits/],
      ['[Interface]\nDNS = a b', 2, /DNS: expected addresses/],
      ['[Interface]\nTable = a b', 2, /Table/],
      ['[Interface]\nSaveConfig = yes', 2, /"true" or "false"/],
      ['[Interface]\nNonsense = 1', 2, /unknown key "Nonsense" in \[Interface\]/],
      ['[Interface]\njust text', 2, /"Key = value"/],
      ['[Interface]\n[Interface]', 2, /second \[Interface\]/],
      ['PrivateKey = x', 1, /before the first key/],
      ['[Server]', 1, /expected \[Interface\] or \[Peer\]/],
      ['[Interface]\n[Peer]\n# no key\n', 2, /no PublicKey/],
      [`[Peer]\nPublicKey = ${KEY_A}\n[Peer]\nPublicKey = ${KEY_A}`, 4, /second \[Peer\]/],
      [`[Peer]\nPublicKey = ${KEY_A}\nEndpoint = vpn.example`, 3, /host:port/],
      [`[Peer]\nPublicKey = ${KEY_A}\nPersistentKeepalive = 70000`, 3, /0 to 65535, or "off"/],
      [`[Peer]\nPublicKey = ${KEY_A}\nAllowedIPs = any`, 3, /AllowedIPs: expected prefixes/],
      [`[Peer]\nPublicKey = ${KEY_A}\nMTU = 1400`, 3, /unknown key "MTU" in \[Peer\]/],
    ];
    for (const [text, line, message] of cases) {
      let thrown: unknown;
      try {
        parseConfig(text);
      } catch (error) {
        thrown = error;
      }
      expect(thrown, text).toBeInstanceOf(WgConfigError);
      expect((thrown as WgConfigError).line, text).toBe(line);
      expect((thrown as WgConfigError).message).toMatch(message);
      expect((thrown as WgConfigError).message).toMatch(new RegExp(`^line ${line}: `));
    }
  });

  it('whatever the text: a configuration or an error with a line', () => {
    const word = fc.constantFrom(
      ...'[Interface]|[Peer]|PublicKey|=|AllowedIPs|10.0.0.0/8|,|#|\n|::|Endpoint|a:1|off'.split(
        '|',
      ),
      KEY_A,
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(word).map((all) => all.join(' ')),
        ),
        (text) => {
          try {
            const file = ConfigFile.parse(text);
            expect(parseConfig(formatConfig(file.config))).toEqual(file.config);
          } catch (error) {
            if (!(error instanceof WgConfigError)) throw error;
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it('endpoints are names or addresses with a port', () => {
    expect(parseEndpoint('vpn.example:51820')).toEqual({ host: 'vpn.example', port: 51820 });
    expect(parseEndpoint('192.0.2.1:1')).toEqual({ host: '192.0.2.1', port: 1 });
    expect(parseEndpoint('[fe80::1%eth0]:9')).toEqual({ host: 'fe80::1%eth0', port: 9 });
    for (const bad of [
      'a',
      'a:0',
      'a:70000',
      '::1:5',
      '[192.0.2.1]:5',
      '[::1',
      '1.2.3:5',
      'a b:5',
    ]) {
      expect(parseEndpoint(bad)).toBeNull();
    }
  });
});

describe('WG-14: the control protocol', () => {
  function rig() {
    const net = new Net();
    const device = new WireGuard(net.engine({ endpoint: 1 }), { privateKey: KEY_A });
    const port: UapiPort & { listenPort: number; fwMark: number } = {
      listenPort: 51820,
      fwMark: 0,
      setListenPort: async (wanted) => {
        if (wanted === 1) throw new Error('taken');
        port.listenPort = wanted;
      },
      setFwMark: (mark) => {
        port.fwMark = mark;
      },
    };
    const ask = (text: string) => answerUapi(device, port, text);
    return { device, port, ask, net };
  }
  const hexA = formatKeyHex(parseKey(KEY_A));
  const hexB = formatKeyHex(parseKey(KEY_B));
  const hexC = formatKeyHex(parseKey(KEY_C));

  it('configures a device and describes it', async () => {
    const { device, ask, port } = rig();
    const set = [
      'set=1',
      'listen_port=4000',
      'fwmark=7',
      'replace_peers=true',
      `public_key=${hexB}`,
      `preshared_key=${hexC}`,
      'endpoint=10.0.0.9:51820',
      'persistent_keepalive_interval=25',
      'replace_allowed_ips=true',
      'allowed_ip=10.0.0.0/24',
      'allowed_ip=fd00::/64',
      `public_key=${hexC}`,
    ];
    expect(await ask(`${set.join('\n')}\n`)).toBe('errno=0\n\n');
    expect([port.listenPort, port.fwMark]).toEqual([4000, 7]);
    expect(await ask('get=1')).toBe(
      [
        `private_key=${hexA}`,
        'listen_port=4000',
        'fwmark=7',
        `public_key=${hexB}`,
        `preshared_key=${hexC}`,
        'protocol_version=1',
        'endpoint=10.0.0.9:51820',
        'last_handshake_time_sec=0',
        'last_handshake_time_nsec=0',
        'tx_bytes=148',
        'rx_bytes=0',
        'persistent_keepalive_interval=25',
        'allowed_ip=10.0.0.0/24',
        'allowed_ip=fd00::/64',
        `public_key=${hexC}`,
        `preshared_key=${'0'.repeat(64)}`,
        'protocol_version=1',
        'last_handshake_time_sec=0',
        'last_handshake_time_nsec=0',
        'tx_bytes=0',
        'rx_bytes=0',
        'persistent_keepalive_interval=0',
        'errno=0',
        '',
        '',
      ].join('\n'),
    );
    await ask(`set=1\npublic_key=${hexB}\nupdate_only=true\nallowed_ip=-10.0.0.0/24`);
    const peer = device.identity.peer(KEY_B);
    expect(peer?.allowedIps.map(String)).toEqual(['fd00::/64']);
    await ask(`set=1\npublic_key=${hexB}\nremove=true\npublic_key=${hexB}\nremove=true`);
    expect([...device.peers.keys()]).toEqual([KEY_C]);
    const absent = formatKeyHex(generatePrivateKey());
    await ask(`set=1\npublic_key=${absent}\nupdate_only=true\nallowed_ip=10.7.0.0/16`);
    expect(device.peers.size).toBe(1);
    await ask('set=1\nreplace_peers=true');
    expect(device.peers.size).toBe(0);
  });

  it('changes nothing when any line is wrong, and names the error by its number', async () => {
    const { device, ask } = rig();
    const bad = [
      'private_key=12',
      'listen_port=70000',
      'listen_port=x',
      'fwmark=-1',
      'replace_peers=false',
      'nonsense=1',
      'no equals',
      `public_key=${hexB}\nendpoint=host.example:1`,
      `public_key=${hexB}\nendpoint=10.0.0.1:0`,
      `public_key=${hexB}\nallowed_ip=10.0.0.0/33`,
      `public_key=${hexB}\nprotocol_version=2`,
      `public_key=${hexB}\nlisten_port=5`,
      `private_key=${'0'.repeat(64)}`,
    ];
    for (const line of bad) {
      expect(await ask(`set=1\npublic_key=${hexC}\n`)).toBe('errno=0\n\n');
      device.removePeer([...device.peers.values()][0]);
      expect(await ask(`set=1\n${line}\npublic_key=${hexC}\n`), line).toBe('errno=-22\n\n');
      expect(device.peers.size).toBe(0);
    }
    expect(await ask('set=1\nlisten_port=1')).toBe('errno=-98\n\n');
    expect(await ask('put=1')).toBe('errno=-71\n\n');
    expect(await ask('')).toBe('errno=-71\n\n');
  });

  it('passes over our own key and follows a new private key', async () => {
    const { device, ask } = rig();
    const own = formatKeyHex(device.identity.publicKey);
    expect(await ask(`set=1\npublic_key=${own}`)).toBe('errno=0\n\n');
    expect(device.peers.size).toBe(0);
    await ask(`set=1\nprivate_key=${hexB}`);
    expect(device.identity.id).toBe(formatKey(derivePublicKey(testProvider(), KEY_B)));
  });

  it('whatever the request: an answer that ends in an error number', async () => {
    const line = fc.oneof(
      fc.constantFrom('get=1', 'set=1', 'replace_peers=true', `public_key=${hexB}`, 'remove=true'),
      fc.constantFrom(
        'allowed_ip=0.0.0.0/0',
        'endpoint=10.0.0.2:5',
        'persistent_keepalive_interval=5',
      ),
      fc.string(),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 12 }), async (lines) => {
        const { ask } = rig();
        expect(await ask(lines.join('\n'))).toMatch(/errno=-?[0-9]+\n\n$/);
      }),
      { numRuns: 60 },
    );
  });
});
