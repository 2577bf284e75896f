import prettyBytes from 'pretty-bytes';

/** Sizes, times and numbers as on the command line. */

/** `340 MiB`, `1.25 GiB`, `1023 B` */
export function bytes(count: number): string {
  return prettyBytes(count, { binary: true });
}

export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** `12 s`, `5 min`, `3 h`, `2 d` */
export function duration(seconds: number): string {
  const count = Math.max(0, Math.round(seconds));
  if (count < 60) return `${count} s`;
  if (count < 3600) return `${Math.floor(count / 60)} min`;
  return count < 86_400 ? `${Math.floor(count / 3600)} h` : `${Math.floor(count / 86_400)} d`;
}

/** How long ago an ISO date is; empty if it is not one. */
export function since(isoDate: string | null, now: number): string {
  const time = isoDate === null ? Number.NaN : Date.parse(isoDate);
  return Number.isNaN(time) ? '' : duration((now - time) / 1000);
}

/** `2026-11-25 16:20:01`, in local time. */
export function localTime(isoDate: string): string {
  const date = new Date(isoDate);
  if (Number.isNaN(date.getTime())) return isoDate;
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-');
  return `${day} ${clockTime(isoDate)}`;
}

/** `16:20:01`, in local time. */
export function clockTime(isoDate: string): string {
  const date = new Date(isoDate);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':');
}

function two(part: number): string {
  return String(part).padStart(2, '0');
}

/** `97.9 %`, rounded towards what is true: 100 % and 0 % are exact. */
export function percent(part: number, whole: number): string {
  const value = whole === 0 ? 0 : (100 * part) / whole;
  const tenths = Math.round(value * 10) / 10;
  return `${tenths === 100 && value < 100 ? 99.9 : tenths} %`;
}
