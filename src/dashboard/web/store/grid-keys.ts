/** The member to which a key moves the focus in a grid with so many columns; null if the key is not for it. */
export function nextCell(key: string, order: readonly number[], index: number, columns: number): number | null {
  const at = order.indexOf(index);
  const last = order.length - 1;
  const targets: Record<string, number> = {
    ArrowLeft: at - 1,
    ArrowRight: at + 1,
    ArrowUp: at - columns,
    ArrowDown: at + columns,
    Home: 0,
    End: last,
    PageUp: Math.max(at % columns, at - 10 * columns),
    PageDown: at + 10 * columns > last ? last : at + 10 * columns,
  };
  const target = Object.hasOwn(targets, key) ? targets[key] : undefined;
  if (at < 0 || target === undefined) return null;
  return order[target] ?? index;
}
