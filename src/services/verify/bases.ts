import { basename } from 'node:path';
import { reportOf } from '../../core/errors.js';
import { formatBaseRef } from '../../core/image/base.js';
import type { Ports, StoreEntry } from '../../ports/index.js';
import { verifyBase } from '../base/verify.js';
import { memoryDifferences } from '../clone/plan.js';
import { chainDifferences, type WorkOptions } from '../fleet/access.js';
import { exposures, type FixableFinding, fixable } from './fixable-finding.js';

export const sweepHint = 'It can go: cowherd verify --fix';

export interface Examined {
  findings: FixableFinding[];
  /** How many were looked at. */
  count: number;
  /** Files that cowherd did not make. */
  unknown: string[];
}

/** A file that only a run which writes needs. */
export function leftover(entry: StoreEntry, hint: string, mend: () => Promise<void>): FixableFinding {
  return fixable('leftover', entry.path, 'a run that was killed left it', { hint, bytes: entry.bytes, mend });
}

/** Base images: their records, their files, and whether they are what was imported. Changes nothing. */
export async function examineBases(ports: Ports): Promise<Examined> {
  const { bases, damaged } = await ports.bases.list();
  const findings = damaged.map(({ path, reason }) =>
    fixable('damaged', path, reason, { hint: 'Import the image again: the same content gets its record back.' }),
  );
  const unknown: string[] = [];
  const paths = new Set([...bases.map(({ path }) => path), ...damaged.map(({ path }) => path)]);
  const memories = new Set(bases.filter(({ warm }) => warm !== undefined).map((base) => ports.memory.path(base)));
  // Of a freeze that was killed: resume goes on with it.
  for (const fleet of await ports.fleets.list()) {
    const taken = (await ports.memory.readFreeze(fleet).catch(() => undefined))?.taken;
    if (taken !== undefined) memories.add(ports.memory.path(taken.base));
  }
  const isRecorded = (image: string): boolean => paths.has(image) || paths.has(image.replace(/\.(qcow2|raw)$/, '.json'));
  for (const name of await ports.survey.owners('bases')) {
    const entries = await ports.survey.entries('bases', name);
    for (const entry of entries) {
      const { path, role, bytes } = entry;
      if (role === 'unknown') unknown.push(path);
      if (role === 'leftover') findings.push(leftover(entry, sweepHint, () => ports.survey.remove('bases', entry)));
      // With a note beside it that it was on its way in or out: nobody stands on it.
      const isPassing = entries.some((other) => other.role === 'state' && other !== entry && other.path.endsWith(`-${basename(path)}`));
      if (role === 'image' && !isRecorded(path) && isPassing) findings.push(leftover(entry, sweepHint, () => ports.bases.sweep()));
      else if (role === 'image' && !isRecorded(path)) {
        const hint = 'Import the image again to have its record back; or remove this file, if no overlay stands on it.';
        findings.push(fixable('orphan', path, 'an image without its record', { hint, bytes }));
      }
      if (role === 'companion' && !memories.has(path)) {
        const hint = 'A freeze was interrupted, or its image was removed. Nothing goes on from it: remove this file.';
        findings.push(fixable('orphan', path, 'a memory without its record', { hint, bytes }));
      }
    }
    const recorded = entries.filter(({ path, role }) => role !== 'image' || isRecorded(path));
    findings.push(...modeFindings(ports, recorded));
    if (entries.length === 0) {
      const mend = async (): Promise<void> => void (await ports.survey.removeEmpty('bases', name));
      findings.push(
        fixable('leftover', `${ports.fleets.root}/bases/${name}`, 'a directory without a base image', { hint: sweepHint, mend }),
      );
    }
  }
  for (const base of bases) {
    const ref = formatBaseRef(base);
    const hint = `Every overlay on it may be corrupt: cowherd base verify ${ref} compares its content.`;
    const differences = await chainDifferences(ports, base);
    if (differences.length > 0) findings.push(fixable('damaged', ref, `it is not what was imported: ${differences.join(', ')}`, { hint }));
    const memory = await memoryDifferences(ports, base);
    if (memory.length > 0) {
      const advice = `No clones are made of it: cowherd base verify ${ref} compares its content.`;
      findings.push(
        fixable('damaged', ports.memory.path(base), `it is not the memory that was frozen: ${memory.join(', ')}`, { hint: advice }),
      );
    }
  }
  return { findings, count: bases.length, unknown };
}

/** One finding for each file: what mends one fault of its mode mends all. */
function modeFindings(ports: Pick<Ports, 'survey'>, entries: readonly StoreEntry[]): FixableFinding[] {
  const isWritable = ({ role, mode }: StoreEntry): boolean => role === 'image' && (mode & 0o222) !== 0;
  const mend = (entry: StoreEntry) => ({ mend: () => ports.survey.protect(entry) });
  const writable = entries.filter(isWritable).map((entry) => {
    const hint = 'Take the right away from everybody: cowherd verify --fix';
    return fixable('damaged', entry.path, 'a base image that can be written to', { hint, ...mend(entry) });
  });
  const others = entries.filter((entry) => !isWritable(entry));
  const closed = others
    .filter(({ readers }) => readers === 'closed')
    .map((entry) => {
      const hint = 'Let it read the image: cowherd verify --fix';
      return fixable('mismatch', entry.path, "QEMU's user may not read this base image: no guest starts on it", { hint, ...mend(entry) });
    });
  return [...writable, ...closed, ...exposures(ports, others, 'cowherd verify --fix')];
}

/** Reads every base image whole, but for those that are known to be changed. */
export async function readBases(ports: Ports, work: WorkOptions): Promise<FixableFinding[]> {
  const findings: FixableFinding[] = [];
  for (const base of (await ports.bases.list()).bases) {
    const ref = formatBaseRef(base);
    if ((await chainDifferences(ports, base)).length > 0) continue;
    try {
      await verifyBase(ports, ref, work);
    } catch (error) {
      const { code, message, hint = 'Bring back the original file.' } = reportOf(error);
      if (code === 'INTERRUPTED') throw error;
      // Removed meanwhile, by whoever may.
      if (code === 'BASE_NOT_FOUND') continue;
      findings.push(fixable('damaged', ref, message, { hint }));
    }
  }
  return findings;
}
