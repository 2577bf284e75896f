/** Continuing a download: RFC 9110, chapters 8.8, 13 and 14. */

/** Identifies the version of a file on a server. */
export interface Validators {
  etag?: string | undefined;
  lastModified?: string | undefined;
}

/** The value of If-Range; undefined if the version cannot be told, so that a part of it cannot be continued. */
export function ifRange({ etag, lastModified }: Validators): string | undefined {
  // A weak tag promises only that the meaning is the same.
  return etag !== undefined && /^"[^"]*"$/.test(etag) ? etag : lastModified;
}

/** Whether two replies are certainly not of the same version. Missing values say nothing; tags say more than dates. */
export function hasChanged(before: Validators, after: Validators): boolean {
  if (before.etag !== undefined && after.etag !== undefined) return before.etag !== after.etag;
  return before.lastModified !== undefined && after.lastModified !== undefined && before.lastModified !== after.lastModified;
}

export interface ContentRange {
  /** Undefined if the range cannot be satisfied. */
  first?: number | undefined;
  last?: number | undefined;
  total?: number | undefined;
}

/** @returns undefined if it is missing or invalid */
export function parseContentRange(value: string | undefined): ContentRange | undefined {
  const [, first, last, all = ''] = /^bytes (?:(\d{1,15})-(\d{1,15})|\*)\/(\d{1,15}|\*)$/i.exec(value?.trim() ?? '') ?? [];
  if (all === '') return undefined;
  const total = all === '*' ? undefined : Number(all);
  if (first === undefined || last === undefined) return total === undefined ? undefined : { total };
  const range = { first: Number(first), last: Number(last), total };
  return range.first > range.last || (total !== undefined && range.last >= total) ? undefined : range;
}

/** A number of bytes in a header. */
export function parseLength(value: string | undefined): number | undefined {
  return value !== undefined && /^\d{1,15}$/.test(value.trim()) ? Number(value) : undefined;
}
