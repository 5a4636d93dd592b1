/** A configuration as a QR code, as the WireGuard apps for phones read it. */

import { formatConfig, type WgConfig } from '../config.ts';

/** For a terminal, as text with ANSI colours. */
export async function configQr(config: WgConfig | string): Promise<string> {
  const { default: qrcode } = await import('qrcode');
  return qrcode.toString(textOf(config), { type: 'terminal', small: true });
}

/** As a PNG file. */
export async function configQrPng(config: WgConfig | string): Promise<Uint8Array> {
  const { default: qrcode } = await import('qrcode');
  return new Uint8Array(await qrcode.toBuffer(textOf(config), { type: 'png' }));
}

function textOf(config: WgConfig | string): string {
  return typeof config === 'string' ? config : formatConfig(config);
}
