import { CowherdError, type ErrorReport, reportOf } from '../../../core/errors.js';
import type { Outcome } from '../../../core/fleet/outcome.js';
import type { Ports } from '../../../ports/index.js';
import { assertChecks, type Check, checkDisk, checkStore } from '../../preflight/checks.js';

/** What of a real run a dry run can foresee to be refused as a whole. */
export interface Foreseen {
  refusal?: ErrorReport;
  /** What a real run would only warn of. */
  notes: string[];
}

/** The outcome of checks that a real run makes before it changes anything. */
export function foresee(checks: readonly Check[], force: boolean): Foreseen {
  try {
    return { notes: assertChecks(checks, force) };
  } catch (error) {
    if (!(error instanceof CowherdError)) throw error;
    const warnings = checks.filter(({ status }) => status === 'warning').map(({ name, message }) => `${name}: ${message}`);
    return { refusal: reportOf(error), notes: warnings };
  }
}

/** The checks that come before everything else. A file system that is not there yet is that of the directory above. */
export async function earlyChecks(ports: Ports): Promise<Check[]> {
  return [...(await checkStore(ports)), ...(await checkDisk(ports))];
}

/** @returns the outcome of a dry run with what would be refused in it */
export function withForeseen(outcome: Outcome, { refusal, notes }: Foreseen): Outcome {
  return { ...outcome, notes: [...outcome.notes, ...notes], ...(refusal === undefined ? {} : { refusal }) };
}
