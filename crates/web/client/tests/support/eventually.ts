const DEADLINE_MS = 15_000;
const PAUSE_MS = 5;

/** Looks again and again until there is something truthy, and gives that. */
export async function eventually<T>(look: () => T, withinMs = DEADLINE_MS): Promise<NonNullable<T>> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    const seen = look();
    if (seen) return seen;
    if (Date.now() > deadline) throw new Error(`not within ${withinMs} ms: ${look.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}
