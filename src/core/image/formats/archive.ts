import { CowherdError } from '../../errors.js';
import { escapeUnsafe } from '../../guest/text.js';
import { shellWord } from '../../quoting.js';
import { textOf } from '../content.js';
import { qcow2Magic } from '../qcow2-header.js';
import { detect } from './detect.js';

/** Which entry of a tar archive is the disk. Names are only compared and shown: nothing is ever extracted by its name. */

/** Limits for archives, which may be hostile. */
export const archiveLimits = {
  entries: 10_000,
  /** Headers that extend the header of an entry: at most three per entry are common. */
  headers: 40_000,
  /** Largest extended header, in bytes: a path has 4096 at most. */
  headerBytes: 64 * 1024,
  /** Names that a message lists. */
  shownNames: 20,
  /** Characters of a name in a message. */
  shownLetters: 200,
  /** Bytes at the beginning of an entry that decide what it is. */
  headBytes: 4096,
} as const;

/** Types of entries with content of their own, by the names of the package tar. */
export const fileTypes: ReadonlySet<string> = new Set(['File', 'OldFile', 'ContiguousFile']);

const metadata = /^(vagrantfile|\._.*|.*\.(ovf|mf|cert|json|xml|txt|md|asc|sig|md5|sha\d+|log|nvram|iso|pem|crt|ya?ml))$/i;
const disks = /\.(qcow2?|img|raw|vmdk|vhdx?|vdi|dd|hdd)$/i;
/** Larger texts are taken for disks, and refused with the reason. */
const smallText = 64 * 1024;

/**
 * Whether an entry may be the disk.
 * @param head its first {@link archiveLimits}.headBytes bytes
 */
export function isDiskEntry({ name, bytes, head }: { name: string; bytes: number; head: Buffer }): boolean {
  if (bytes < 512 || metadata.test(baseOf(name))) return false;
  const container = detect(head, Buffer.alloc(0));
  // The text of a disk that consists of several files: these are entries of their own.
  if (container === 'vmdk' && head.toString('latin1', 0, 1) === '#') return false;
  if (container !== undefined || head.subarray(0, 4).equals(qcow2Magic)) return true;
  if (disks.test(name)) return true;
  if (textOf(head) !== undefined) return bytes > smallText;
  return head.length >= 512 && head.readUInt16LE(510) === 0xaa55;
}

/** How the name of an entry matches a given one: with its directories, or without them. */
export function matchOf(name: string, given: string): 'whole' | 'base' | undefined {
  if (plain(name) === plain(given)) return 'whole';
  return baseOf(name) === given ? 'base' : undefined;
}

const plain = (name: string): string => name.replace(/^(\.\/)+/, '');

export function baseOf(name: string): string {
  return /[^/]*$/.exec(name.replace(/\/+$/, ''))?.[0] ?? '';
}

/** An entry's name as it is shown. */
export function shownName(name: string): string {
  const text = escapeUnsafe(name).replace(/[\n\t]/g, (character) => (character === '\n' ? '\\n' : '\\t'));
  return text.length > archiveLimits.shownLetters ? `${text.slice(0, archiveLimits.shownLetters - 1)}…` : text;
}

/** @param label the archive, as messages name it */
export function damagedArchive(label: string, why: string, cause?: unknown): CowherdError {
  return new CowherdError('BASE_REFUSED', `${label} is an archive that cannot be read: ${why}`, {
    hint: 'It is truncated or damaged. Copy it again from its source.',
    cause,
  });
}

export interface ArchiveFindings {
  /** How many entries may be the disk, or match the given name. */
  count: number;
  /** The first names of these. */
  candidates: readonly string[];
  /** Names of other regular files. */
  others: readonly string[];
}

/**
 * Why no entry was taken, or more than one matches.
 * @param path the archive
 * @param withDisk the command that was run, with `--disk` and that name
 */
export function archiveRefusal(
  path: string,
  { count, candidates, others }: ArchiveFindings,
  disk: string | undefined,
  withDisk: (disk: string) => string,
): CowherdError {
  const list = (names: readonly string[]): string[] => [
    ...names.slice(0, archiveLimits.shownNames).map(shownName),
    ...(names.length > archiveLimits.shownNames ? ['…'] : []),
  ];
  const error = (message: string, names: readonly string[], hint: string): CowherdError =>
    new CowherdError('BASE_REFUSED', message, { details: list(names), hint });
  if (count > 1) {
    const unpack = `Unpack it, and import the disk that is in it: tar -xf ${shellWord(path)}`;
    // A name with control characters cannot be copied from a terminal, and one that occurs twice is no choice.
    const usable = candidates.find((name) => shownName(name) === name && candidates.filter((other) => other === name).length === 1);
    const problem = disk === undefined ? `contains ${count} disks` : `contains ${count} files with the name ${shownName(disk)}`;
    return error(`${path} ${problem}`, candidates, usable === undefined ? unpack : `Name one: ${withDisk(usable)}`);
  }
  if (disk !== undefined) return error(`${path} contains no file ${shownName(disk)}`, others, 'Name one of the files that are listed.');
  return error(`${path} contains no disk`, others, 'If one of its files is the disk, name it with --disk NAME.');
}
