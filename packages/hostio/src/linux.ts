/**
 * Numbers of the Linux kernel's interface, from its `include/uapi` headers. All are the same on x64 and arm64 unless
 * said otherwise.
 */

export const O_NONBLOCK = 0x800;
export const O_CLOEXEC = 0x80000;
export const F_GETFL = 3;
export const F_SETFL = 4;

export const EINTR = 4;
export const EIO = 5;
export const EAGAIN = 11;
export const EINVAL = 22;
export const EMSGSIZE = 90;
export const ENETDOWN = 100;
export const ENOBUFS = 105;
export const EBADFD = 77;

// epoll.h
export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EPOLL_CTL_MOD = 3;
export const EPOLLIN = 1;
export const EPOLLOUT = 4;
export const EPOLLERR = 8;
/** `struct epoll_event` is packed on x64 only: 32 bits of events, then 64 of data at once or after padding. */
export const EPOLL_EVENT_SIZE: number = process.arch === 'x64' ? 12 : 16;
export const EPOLL_EVENT_DATA: number = process.arch === 'x64' ? 4 : 8;

// socket.h
export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_NETLINK = 16;
export const AF_PACKET = 17;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
export const SOCK_NONBLOCK = 0x800;
export const SOCK_CLOEXEC = 0x80000;
export const MSG_DONTWAIT = 0x40;
export const MSG_TRUNC = 0x20;
export const SOL_SOCKET = 1;

// if_packet.h, if_ether.h
export const ETH_P_ALL = 3;
export const SOL_PACKET = 263;
export const PACKET_ADD_MEMBERSHIP = 1;
export const PACKET_AUXDATA = 8;
export const PACKET_VNET_HDR = 15;
export const PACKET_IGNORE_OUTGOING = 23;
export const PACKET_MR_PROMISC = 1;
export const TP_STATUS_VLAN_VALID = 0x10;
export const TP_STATUS_VLAN_TPID_VALID = 0x40;
export const SOCKADDR_LL_SIZE = 20;

// if.h, sockios.h, if_tun.h
export const IFNAMSIZ = 16;
/** `struct ifreq`: the name, then a union of 24 bytes. */
export const IFREQ_SIZE = 40;
export const SIOCGIFNAME = 0x8910;
export const SIOCGIFMTU = 0x8921;
export const SIOCGIFHWADDR = 0x8927;
export const SIOCGIFINDEX = 0x8933;
export const TUNSETPERSIST = 0x400454cb;
export const TUNSETIFF = 0x400454ca;
export const TUNSETOWNER = 0x400454cc;
export const TUNSETGROUP = 0x400454ce;
export const TUNSETOFFLOAD = 0x400454d0;
export const TUNSETVNETHDRSZ = 0x400454d8;
export const IFF_TUN = 1;
export const IFF_TAP = 2;
export const IFF_MULTI_QUEUE = 0x100;
export const IFF_NO_PI = 0x1000;
export const IFF_VNET_HDR = 0x4000;
export const TUN_F_CSUM = 1;
export const TUN_F_TSO4 = 2;
export const TUN_F_TSO6 = 4;
export const TUN_F_TSO_ECN = 8;
export const TUN_F_USO4 = 0x20;
export const TUN_F_USO6 = 0x40;

// sched.h
export const CLONE_NEWNET = 0x40000000;
