import { basename } from 'node:path';
import { reportOf } from '../../core/errors.js';
import { formatBaseRef } from '../../core/image/base.js';
import type { Ports, StoreEntry } from '../../ports/index.js';
import { verifyBase } from '../base/verify.js';
import { fileDifferences } from '../clone/plan.js';
import { chainDifferences, type WorkOptions } from '../fleet/access.js';
import { exposures, type FixableFinding, fixable } from './fixable-finding.js';

export const sweepHint = 'Remove it: cowherd verify --fix';

export interface Examined {
  findings: FixableFinding[];
  /** Number of examined objects. */
  count: number;
  /** Files that cowherd did not create. */
  unknown: string[];
}

/** A temporary file of a killed run. */
export function leftover(entry: StoreEntry, hint: string, fix: () => Promise<void>): FixableFinding {
  return fixable('leftover', entry.path, 'left by a run that was killed', { hint, bytes: entry.bytes, fix });
}

/** Examines base images: records, files and seals. Changes nothing. */
export async function examineBases(ports: Ports): Promise<Examined> {
  const { bases, damaged } = await ports.bases.list();
  const findings = damaged.map(({ path, reason }) =>
    fixable('damaged', path, reason, { hint: 'Import the image again: that restores its record.' }),
  );
  const unknown: string[] = [];
  const paths = new Set([...bases.map(({ path }) => path), ...damaged.map(({ path }) => path)]);
  const memories = new Set(bases.flatMap((base) => ports.memory.files(base)).map(({ path }) => path));
  // The memory of an interrupted freeze is needed by resume.
  for (const fleet of await ports.fleets.list()) {
    const taken = (await ports.memory.readFreeze(fleet).catch(() => undefined))?.taken;
    if (taken === undefined) continue;
    memories.add(ports.memory.path(taken.base));
    if (taken.isShared) memories.add(ports.memory.ramPath(taken.base));
  }
  const isRecorded = (image: string): boolean => paths.has(image) || paths.has(image.replace(/\.(qcow2|raw)$/, '.json'));
  for (const name of await ports.survey.owners('bases')) {
    const entries = await ports.survey.entries('bases', name);
    for (const entry of entries) {
      const { path, role, bytes } = entry;
      if (role === 'unknown') unknown.push(path);
      if (role === 'leftover') findings.push(leftover(entry, sweepHint, () => ports.survey.remove('bases', entry)));
      // A temporary note shows that its import or removal was interrupted: it has no users.
      const isPassing = entries.some((other) => other.role === 'state' && other !== entry && other.path.endsWith(`-${basename(path)}`));
      if (role === 'image' && !isRecorded(path) && isPassing) findings.push(leftover(entry, sweepHint, () => ports.bases.sweep()));
      else if (role === 'image' && !isRecorded(path)) {
        const hint = 'Import the image again to restore its record, or remove this file if no overlay is based on it.';
        findings.push(fixable('orphan', path, 'an image without its record', { hint, bytes }));
      }
      if ((role === 'companion' || role === 'memory') && !memories.has(path)) {
        const hint = 'A freeze was interrupted, or its image was removed. Nothing uses this file: remove it.';
        findings.push(fixable('orphan', path, 'a memory without its record', { hint, bytes }));
      }
    }
    const recorded = entries.filter(({ path, role }) => role !== 'image' || isRecorded(path));
    findings.push(...modeFindings(ports, recorded));
    if (entries.length === 0) {
      const fix = async (): Promise<void> => void (await ports.survey.removeEmpty('bases', name));
      findings.push(
        fixable('leftover', `${ports.fleets.root}/bases/${name}`, 'a directory without a base image', { hint: sweepHint, fix }),
      );
    }
  }
  for (const base of bases) {
    const ref = formatBaseRef(base);
    const hint = `Every overlay on it may be corrupt: cowherd base verify ${ref} compares its content.`;
    const differences = await chainDifferences(ports, base);
    if (differences.length > 0) findings.push(fixable('damaged', ref, `changed since the import: ${differences.join(', ')}`, { hint }));
    for (const file of ports.memory.files(base)) {
      const changes = await fileDifferences(ports, file);
      if (changes.length === 0) continue;
      const advice = `No clones can be created from it: cowherd base verify ${ref} compares its content.`;
      findings.push(fixable('damaged', file.path, `memory changed since the freeze: ${changes.join(', ')}`, { hint: advice }));
    }
  }
  return { findings, count: bases.length, unknown };
}

/** One finding per file: a single fix repairs all its permissions. */
function modeFindings(ports: Pick<Ports, 'survey'>, entries: readonly StoreEntry[]): FixableFinding[] {
  const isWritable = ({ role, mode }: StoreEntry): boolean => role === 'image' && (mode & 0o222) !== 0;
  const fix = (entry: StoreEntry) => ({ fix: () => ports.survey.protect(entry) });
  const writable = entries.filter(isWritable).map((entry) => {
    const hint = 'Remove the write permission: cowherd verify --fix';
    return fixable('damaged', entry.path, 'the base image is writable', { hint, ...fix(entry) });
  });
  const others = entries.filter((entry) => !isWritable(entry));
  const closed = others
    .filter(({ readers }) => readers === 'closed')
    .map((entry) => {
      const hint = 'Grant read permission: cowherd verify --fix';
      return fixable('mismatch', entry.path, "QEMU's user cannot read this base image, so guests cannot start from it", {
        hint,
        ...fix(entry),
      });
    });
  return [...writable, ...closed, ...exposures(ports, others, 'cowherd verify --fix')];
}

/** Reads every base image in full, except images with known changes. */
export async function readBases(ports: Ports, work: WorkOptions): Promise<FixableFinding[]> {
  const findings: FixableFinding[] = [];
  for (const base of (await ports.bases.list()).bases) {
    const ref = formatBaseRef(base);
    if ((await chainDifferences(ports, base)).length > 0) continue;
    try {
      await verifyBase(ports, ref, work);
    } catch (error) {
      const { code, message, hint = 'Restore the original file.' } = reportOf(error);
      if (code === 'INTERRUPTED') throw error;
      // Removed meanwhile.
      if (code === 'BASE_NOT_FOUND') continue;
      findings.push(fixable('damaged', ref, message, { hint }));
    }
  }
  return findings;
}
