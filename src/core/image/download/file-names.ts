/** File names in lists: patterns and versions. */

/** @param pattern `*` matches any characters but `/`. Takes at most (name × pattern) steps, unlike a regular expression. */
export function wildcardMatcher(pattern: string): (name: string) => boolean {
  const [first = '', ...rest] = pattern.split('*');
  const last = rest.pop();
  if (last === undefined) return (name) => name === pattern;
  return (name) => {
    if (name.includes('/') || !name.startsWith(first)) return false;
    let at = first.length;
    for (const piece of rest) {
      const found = name.indexOf(piece, at);
      if (found < 0) return false;
      at = found + piece.length;
    }
    return name.length - last.length >= at && name.endsWith(last);
  };
}

/** Compares names with numbers by value: `1.10` is newer than `1.9`. For sorting: the newest is the first one. */
export function newestFirst(a: string, b: string): number {
  return compareNatural(b, a);
}

function compareNatural(a: string, b: string): number {
  const pieces = (text: string): string[] => text.match(/\d+|\D+/g) ?? [];
  const [left, right] = [pieces(a), pieces(b)];
  for (const [index, one] of left.entries()) {
    const other = right[index];
    if (other === undefined) return 1;
    const order = /^\d/.test(one) && /^\d/.test(other) ? compareNumbers(one, other) : compareText(one, other);
    if (order !== 0) return order;
  }
  // Names that differ only in leading zeros have a fixed order, too.
  return left.length === right.length ? compareText(a, b) : -1;
}

/** Of any length. */
function compareNumbers(a: string, b: string): number {
  const [one, other] = [a.replace(/^0+/, ''), b.replace(/^0+/, '')];
  return one.length - other.length || compareText(one, other);
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
