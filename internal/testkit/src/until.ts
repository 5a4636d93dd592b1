/** Waiting in real time, for tests with real peers. */

export interface UntilOptions {
  /** Milliseconds; 10,000 unless told. */
  within?: number | undefined;
  /** Milliseconds between two looks; 20 unless told. */
  every?: number | undefined;
  /** Named in the error; a function may add what was seen last. */
  what?: string | (() => string) | undefined;
}

/**
 * Looks until `condition` gives something truthy, and gives that. Rejects at the deadline; an error that the condition
 * throws counts as "not yet" and is shown then.
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  options: UntilOptions = {},
): Promise<NonNullable<T>> {
  const { within = 10_000, every = 20, what = 'the condition' } = options;
  const deadline = performance.now() + within;
  let last: unknown;
  for (;;) {
    try {
      const value = await condition();
      if (value) return value;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() >= deadline) {
      const name = typeof what === 'function' ? what() : what;
      throw new Error(`${name} did not come about within ${within} ms`, { cause: last });
    }
    await new Promise((resolve) => setTimeout(resolve, every));
  }
}
