import { CowherdError, type ErrorReport, reportOf } from '../../../core/errors.js';
import type { Outcome } from '../../../core/fleet/outcome.js';
import type { Ports } from '../../../ports/index.js';
import { assertChecks, type Check, checkDisk, checkStore } from '../../preflight/checks.js';

/** Checks of a real run that a dry run can predict. */
export interface Foreseen {
  refusal?: ErrorReport;
  /** Warnings of a real run. */
  notes: string[];
}

/** The result of the checks that a real run makes before it changes anything. */
export function foresee(checks: readonly Check[], force: boolean): Foreseen {
  try {
    return { notes: assertChecks(checks, force) };
  } catch (error) {
    if (!(error instanceof CowherdError)) throw error;
    const warnings = checks.filter(({ status }) => status === 'warning').map(({ name, message }) => `${name}: ${message}`);
    return { refusal: reportOf(error), notes: warnings };
  }
}

/** The first checks of a run. For a missing directory they use the nearest existing parent. */
export async function earlyChecks(ports: Ports): Promise<Check[]> {
  return [...(await checkStore(ports)), ...(await checkDisk(ports))];
}

/** Adds the predicted refusal to the outcome of a dry run. */
export function withForeseen(outcome: Outcome, { refusal, notes }: Foreseen): Outcome {
  return { ...outcome, notes: [...outcome.notes, ...notes], ...(refusal === undefined ? {} : { refusal }) };
}
