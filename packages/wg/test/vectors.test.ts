import { readFileSync } from 'node:fs';
import { fromHex, ipLength, toHex } from '@pktkit/core';
import { type CryptoProvider, nobleProvider, wasmProviderSync } from '@pktkit/crypto';
import { nodeProvider } from '@pktkit/crypto/node';
import { describe, expect, it } from 'vitest';
import { openCookieReply, signMessage } from '../src/cookie.ts';
import { type InitiatorHandshake, Noise, type SessionKeys } from '../src/noise.ts';

interface Recording {
  ourKey: string;
  ourEphemeral: string;
  theirKey: string;
  presharedKey: string;
  messages: Array<{ from: 'us' | 'wireguard-go'; bytes: string }>;
}

const file = new URL('vectors/wireguard-go.json', import.meta.url);
const { weInitiate, theyInitiate, underLoad } = JSON.parse(readFileSync(file, 'utf8')) as {
  weInitiate: Recording;
  theyInitiate: Recording;
  underLoad: Recording;
};

/** The provider with an ephemeral key that is not drawn but given. */
function withEphemeral(provider: CryptoProvider, ephemeral: string): CryptoProvider {
  return new Proxy(provider, {
    get(target, name) {
      if (name === 'x25519KeyPair') return () => target.x25519KeyPair(fromHex(ephemeral));
      const value = Reflect.get(target, name, target) as unknown;
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

function setUp(base: CryptoProvider, recording: Recording) {
  const ours = base.x25519KeyPair(fromHex(recording.ourKey));
  const theirs = base.x25519Base(fromHex(recording.theirKey));
  const shared = new Uint8Array(32);
  ours.agree(shared, 0, theirs);
  const noise = new Noise(withEphemeral(base, recording.ourEphemeral));
  const messages = recording.messages.map(({ bytes }) => fromHex(bytes));
  return { ours, theirs, shared, noise, messages, psk: fromHex(recording.presharedKey) };
}

/** Writes our recorded initiation once more, byte for byte. `noise` makes the recorded ephemeral key. */
function writeAgain(
  provider: CryptoProvider,
  recording: Recording,
  initiation: Uint8Array,
  cookie: Uint8Array | null,
  noise: Noise,
): InitiatorHandshake {
  const { ours, theirs, shared } = setUp(provider, recording);
  // The time stamp is the one thing that the keys do not give: read it as the other end does.
  const reader = new Noise(provider);
  const other = provider.x25519KeyPair(fromHex(recording.theirKey));
  const opened = reader.openInitiationStatic(initiation, 0, other);
  if (opened === null) throw new Error('our own initiation does not open');
  expect(toHex(opened.publicKey)).toBe(toHex(ours.publicKey));
  expect(reader.openInitiationTimestamp(initiation, 0, opened, shared)).toBe(true);
  const again = new Uint8Array(148);
  const handshake = noise.writeInitiation(
    again,
    0,
    new DataView(initiation.buffer).getUint32(4, true),
    ours,
    theirs,
    provider.x25519PublicKey(theirs),
    shared,
    opened.timestamp,
  );
  signMessage(noise, theirs, cookie, again, 0, 148);
  expect(toHex(again)).toBe(toHex(initiation));
  if (handshake === null) throw new Error('no handshake');
  return handshake;
}

/** Opens a data message of wireguard-go: a ping's packet. */
function openPing(
  provider: CryptoProvider,
  keys: SessionKeys,
  message: Uint8Array,
  counter: number,
) {
  const aead = provider.aead('chacha20poly1305', keys.receive);
  const text = new Uint8Array(message.length - 32);
  expect(message[8]).toBe(counter);
  expect(aead.openCounter(text, 0, message, 16, text.length, counter, 0)).toBe(true);
  expect(ipLength(text, 0, text.length)).toBe(48);
  expect([...text.subarray(12, 20)]).toEqual([10, 9, 0, 1, 10, 9, 0, 2]);
}

const providers: Record<string, CryptoProvider> = {
  noble: nobleProvider(),
  wasm: wasmProviderSync(),
  node: nodeProvider(),
};

for (const [tier, provider] of Object.entries(providers)) {
  describe(`messages of wireguard-go, ${tier}`, () => {
    it('our initiation, its response and its data', () => {
      const { ours, noise, messages, psk } = setUp(provider, weInitiate);
      const [initiation, response, keepalive, ping] = messages;
      const handshake = writeAgain(provider, weInitiate, initiation, null, noise);
      const bad = response.slice();
      bad[50] ^= 1;
      expect(noise.readResponse(bad, 0, handshake, ours, psk)).toBeNull();
      const keys = noise.readResponse(response, 0, handshake, ours, psk);
      if (keys === null) throw new Error('the response does not open');
      const sealed = new Uint8Array(16);
      provider.aead('chacha20poly1305', keys.send).sealCounter(sealed, 0, sealed, 0, 0, 0, 0);
      expect(toHex(sealed)).toBe(toHex(keepalive.subarray(16)));
      openPing(provider, keys, ping, 0);
    });

    it('WG-08: its cookie reply under load, and the initiation with a second MAC that it answered', () => {
      const { ours, theirs, noise, messages, psk } = setUp(provider, underLoad);
      const [refused, reply, initiation, response] = messages;
      const cookie = new Uint8Array(16);
      expect(openCookieReply(noise, theirs, refused, 116, reply, 0, cookie, 0)).toBe(true);
      // We would have written the same bytes around this cookie.
      const sealed = new Uint8Array(32);
      const key = noise.labelledKey('cookie--', theirs);
      const sealer = provider.xchacha20poly1305(key);
      sealer.seal(sealed, 0, cookie, 0, 16, reply, 8, refused, 116, 16);
      expect(toHex(sealed)).toBe(toHex(reply.subarray(32)));
      // It answers the one initiation only.
      expect(openCookieReply(noise, theirs, initiation, 116, reply, 0, sealed, 0)).toBe(false);

      const handshake = writeAgain(provider, underLoad, initiation, cookie, noise);
      expect(initiation.subarray(132).some((byte) => byte !== 0)).toBe(true);
      expect(noise.readResponse(response, 0, handshake, ours, psk)).not.toBeNull();
    });

    it('its initiation, our response and its data', () => {
      const { ours, theirs, shared, noise, messages, psk } = setUp(provider, theyInitiate);
      const [initiation, response, ping] = messages;
      const opened = noise.openInitiationStatic(initiation, 0, ours);
      if (opened === null) throw new Error('the initiation does not open');
      expect(toHex(opened.publicKey)).toBe(toHex(theirs));
      expect(noise.openInitiationTimestamp(initiation, 0, opened, shared)).toBe(true);
      const view = new DataView(response.buffer);
      const again = new Uint8Array(92);
      const sender = view.getUint32(4, true);
      const keys = noise.writeResponse(again, 0, sender, view.getUint32(8, true), opened, psk);
      signMessage(noise, theirs, null, again, 0, 92);
      expect(toHex(again)).toBe(toHex(response));
      if (keys === null) throw new Error('no keys');
      openPing(provider, keys, ping, 0);
    });
  });
}
