/** `fetch` through a virtual host, by npm's undici (an optional peer). */

import type { Socket } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { Agent, fetch as undiciFetch } from 'undici';
import type { VClient } from './vclient.ts';

/**
 * A dispatcher for npm's undici whose connections start at `client`. Not for the global `fetch`: Node has an undici of its own
 * inside, and the two do not take each other's dispatchers.
 */
export function dispatcher(client: VClient, options: Agent.Options = {}): Agent {
  return new Agent({
    ...options,
    connect: ({ hostname, protocol, port, servername }, callback) => {
      const secure = protocol === 'https:';
      const socket = client.connect({
        // IPv6 literals come in brackets.
        host: hostname.replace(/^\[(.*)\]$/, '$1'),
        port: Number(port) || (secure ? 443 : 80),
      });
      const tls = { ...(typeof options.connect === 'object' ? options.connect : {}) };
      const open = secure
        ? tlsConnect({ ...tls, servername: servername ?? hostname, socket })
        : socket;
      const onError = (error: Error) => callback(error, null);
      open.once('error', onError);
      open.once(secure ? 'secureConnect' : 'connect', () => {
        open.removeListener('error', onError);
        callback(null, open as unknown as Socket);
      });
    },
  });
}

/** undici's `fetch`, bound to a client. */
export function fetchOver(client: VClient, options: Agent.Options = {}): typeof undiciFetch {
  const agent = dispatcher(client, options);
  return (input, init) => undiciFetch(input, { ...init, dispatcher: agent });
}
