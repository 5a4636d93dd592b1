import type { Measurement } from '../harness.ts';
export async function udpGoodput(): Promise<Measurement[]> {
  return [];
}
export async function udpRtt(): Promise<Measurement[]> {
  return [];
}
export async function tunTcp(): Promise<Measurement[]> {
  return [];
}
