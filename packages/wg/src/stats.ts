/** Counters of one engine. All of them only rise. */
export interface EngineStats {
  /** Datagrams given to `handleDatagram`. */
  received: number;
  /** Datagrams given to the link. */
  sent: number;
  /** Handshakes completed, in either role. */
  handshakes: number;
  initiationsSent: number;
  initiationsReceived: number;
  responsesSent: number;
  responsesReceived: number;
  cookiesSent: number;
  cookiesReceived: number;
  keepalivesSent: number;
  keepalivesReceived: number;
  /** Peers whose endpoint changed because authenticated messages came from elsewhere. */
  roamed: number;
  /** Not a WireGuard message: unknown type, reserved bytes set, or the wrong length for its type. */
  dropMalformed: number;
  /** A handshake message that none of the identities' MAC1 fits. */
  dropBadMac1: number;
  /** A handshake message over its address's rate while under load. */
  dropRateLimited: number;
  /** An initiation or response that does not decrypt. */
  dropBadHandshake: number;
  /** An initiation whose time stamp is not newer than the last. */
  dropReplayedInitiation: number;
  /** An initiation too soon after the last from the same peer. */
  dropInitiationFlood: number;
  /** A valid initiation of a peer that is not configured, with nobody to approve it or too many waiting. */
  dropUnknownPeer: number;
  /** No session or handshake has this index (any more). */
  dropUnknownIndex: number;
  /** A cookie reply that does not answer our last message. */
  dropBadCookie: number;
  /** A data message whose tag is wrong. */
  dropBadTag: number;
  /** A counter that was received before, or is too old to tell. */
  dropReplay: number;
  /** A data message for keys past their life. */
  dropExpiredKey: number;
  /** Decrypted, but not an IP packet. */
  dropBadPacket: number;
  /** Marked as congested on the way, around a packet whose sender does not know such marks (RFC 6040 §4.2). */
  dropCongestion: number;
  /** An inner source address that the peer may not use. */
  dropSource: number;
  /** An outgoing packet pushed out of a full queue, or given up with its handshake. */
  dropQueue: number;
  /** An outgoing message for a peer without a known endpoint. */
  dropNoEndpoint: number;
  /** A packet larger than a datagram can carry. */
  dropTooLarge: number;
  /** Too many sessions or peers: see the limits. */
  dropLimit: number;
}

export function engineStats(): EngineStats {
  return {
    received: 0,
    sent: 0,
    handshakes: 0,
    initiationsSent: 0,
    initiationsReceived: 0,
    responsesSent: 0,
    responsesReceived: 0,
    cookiesSent: 0,
    cookiesReceived: 0,
    keepalivesSent: 0,
    keepalivesReceived: 0,
    roamed: 0,
    dropMalformed: 0,
    dropBadMac1: 0,
    dropRateLimited: 0,
    dropBadHandshake: 0,
    dropReplayedInitiation: 0,
    dropInitiationFlood: 0,
    dropUnknownPeer: 0,
    dropUnknownIndex: 0,
    dropBadCookie: 0,
    dropBadTag: 0,
    dropReplay: 0,
    dropExpiredKey: 0,
    dropBadPacket: 0,
    dropCongestion: 0,
    dropSource: 0,
    dropQueue: 0,
    dropNoEndpoint: 0,
    dropTooLarge: 0,
    dropLimit: 0,
  };
}
