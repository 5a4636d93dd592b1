export type { StreamAddress, TcpAddress, UnixAddress } from './address.ts';
export { attach, QemuDevice, type QemuDeviceOptions, type QemuStats } from './device.ts';
export { type DialOptions, dial } from './dial.ts';
export { type ListenOptions, listen, QemuListener, type QemuListenerStats } from './listen.ts';
