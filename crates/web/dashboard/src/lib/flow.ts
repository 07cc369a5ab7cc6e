// Where the nodes of the flow map stand and how thick the lines between them are.

export const NODE_HEIGHT = 40;
export const NODE_GAP = 10;

/** The top of each of `count` nodes that stand below each other in the middle of `height`. */
export function column(count: number, height: number): number[] {
  const all = count * NODE_HEIGHT + Math.max(0, count - 1) * NODE_GAP;
  const first = (height - all) / 2;
  return Array.from({ length: count }, (_, n) => first + n * (NODE_HEIGHT + NODE_GAP));
}

/** The height that columns of these lengths need. */
export function heightFor(...counts: number[]): number {
  const most = Math.max(1, ...counts);
  return most * NODE_HEIGHT + (most - 1) * NODE_GAP;
}

/** A line's width in pixels: grows with the rate's magnitude, so that slow and fast are both seen. */
export function lineWidth(perSecond: number | null | undefined): number {
  if (perSecond == null || perSecond <= 0) return 1;
  return Math.min(7, 1.5 + Math.log10(1 + perSecond * 10) * 1.4);
}

/** A curve from one side to the other. */
export function curve(x1: number, y1: number, x2: number, y2: number): string {
  const middle = (x1 + x2) / 2;
  return `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`;
}
