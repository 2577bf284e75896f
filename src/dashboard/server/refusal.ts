import { CowherdError, type ErrorReport, exitCodeOf, reportOf } from '../../core/errors.js';

export type RefusalStatus = 400 | 403 | 404 | 409 | 413 | 429 | 500 | 502 | 503;

/** By the exit code of the same error on the command line. */
const statusOf: Readonly<Record<number, RefusalStatus>> = { 2: 400, 3: 409, 4: 409, 5: 404, 6: 409, 7: 409, 8: 502 };

export function refusalOf(error: unknown): { status: RefusalStatus; error: ErrorReport } {
  if (error instanceof Refused) return { status: error.status, error: error.report };
  const status = error instanceof CowherdError ? (statusOf[exitCodeOf[error.code]] ?? 500) : 500;
  return { status, error: reportOf(error) };
}

/** A request that this server refuses for a reason of its own. */
export class Refused extends Error {
  readonly status: RefusalStatus;
  readonly report: ErrorReport;

  constructor(status: RefusalStatus, code: string, message: string, hint?: string) {
    super(message);
    this.status = status;
    this.report = { code, message, ...(hint === undefined ? {} : { hint }) };
  }
}

export function readOnlyRefusal(): Refused {
  return new Refused(403, 'READ_ONLY', 'This dashboard is read-only', 'Start it without --read-only.');
}
