/** The output of measure.py. */
export interface Usage {
  wall_s: number;
  cpu_s: number;
  peak_kib: number;
}

/** Functions and values shared by all phases of the benchmark. */
export interface Bench {
  /** Runs cowherd. @returns its JSON document */
  run<Document = unknown>(...args: string[]): Promise<Document>;
  /** Runs cowherd and measures it. */
  cowherd(...args: string[]): Promise<Usage>;
  /** Runs a command and measures it. @throws when it fails */
  measure(...command: string[]): Promise<Usage>;
  /** Does the same work with libvirt's API directly. @returns the figures of each phase */
  floor(xmlDir: string, base: string, ...phases: string[]): Promise<Phases>;
  /** Adds a row to the table. @param better 'less' if the figure must not exceed the limit, 'more' if it must reach it */
  row(name: string, figure: number, unit: string, limit: number, better: 'less' | 'more', details?: Record<string, unknown>): void;
  say(text: string): void;
  /** A directory for files that are deleted at the end. */
  scratch: string;
  store: string;
  uri: string;
  rounds: number;
  sizes: Sizes;
}

/** How many members or guests each phase uses. */
export interface Sizes {
  /** Runs of `cowherd list`. */
  startup: number;
  fleet: number;
  guests: number;
  overlays: number;
  defined: number;
  linear: readonly number[];
  warm: number;
  warmHundred: number;
  clones: number;
  /** Servers of an OpenStack. */
  nova: readonly number[];
  /** Size of the image that is downloaded. */
  pullMiB: number;
}

export type Phases = Record<string, { wall_s: number }>;

/** Flags for the smallest guests: 512 bytes of code, in 16 MiB. */
export const smallGuest = ['--memory', '16MiB', '--network', 'none', '--virt-type', 'qemu'];

export function round(number: number, digits = 2): number {
  return Number(number.toFixed(digits));
}

/** The value at a position that is known to exist. */
export function at<T>(list: readonly T[], position: number): T {
  const value = list.at(position);
  if (value === undefined) throw new Error(`no item ${position} in a list of ${list.length}`);
  return value;
}
