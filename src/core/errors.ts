/**
 * Every error code with its exit code. Codes are API: programs match on them.
 * Any other exception is a bug, and exits 1 with its stack.
 */
export const exitCodeOf = {
  BAD_USAGE: 2,
  BAD_SPEC: 2,
  BAD_TEMPLATE: 2,
  NOT_SUPPORTED: 2,
  PREFLIGHT_FAILED: 3,
  UNFINISHED_OPERATION: 3,
  BASE_IN_USE: 3,
  IMAGE_IN_USE: 3,
  CONFIRMATION_NEEDED: 3,
  /** The answer to a question was no. */
  CANCELED: 3,
  NOT_OFF: 3,
  PARTIAL: 4,
  FLEET_NOT_FOUND: 5,
  MEMBER_NOT_FOUND: 5,
  BASE_NOT_FOUND: 5,
  FILE_NOT_FOUND: 5,
  DOMAIN_NOT_FOUND: 5,
  SNAPSHOT_NOT_FOUND: 5,
  LOCKED: 6,
  BASE_CHANGED: 7,
  BASE_REFUSED: 7,
  FOREIGN_DOMAIN: 7,
  DOMAIN_CHANGED: 7,
  IMAGE_CHANGED: 7,
  STATE_DAMAGED: 7,
  ACCELERATOR_FAILED: 8,
  CONNECTION_FAILED: 8,
  DOWNLOAD_FAILED: 8,
  TOOL_FAILED: 8,
  TOOL_MISSING: 8,
  TOOL_TIMEOUT: 8,
  STORE_FAILED: 8,
  NOT_READY: 8,
  GUEST_UNREACHABLE: 8,
  GUEST_REFUSED: 8,
  NOT_STOPPED: 8,
  /** A command that was to prepare a guest failed. */
  SCRIPT_FAILED: 8,
  OUTPUT_FAILED: 8,
  INTERRUPTED: 130,
} as const;

export type ErrorCode = keyof typeof exitCodeOf;

export interface ErrorReport {
  code: string;
  message: string;
  hint?: string;
  details?: string[];
}

export interface ErrorExtras {
  /** What to do about it, as a sentence or a command. */
  hint?: string;
  /** Further lines, one finding each. */
  details?: string[];
  cause?: unknown;
}

const interruptedHint = 'Run the same command again; completed steps are kept. If something is unfinished, it tells you how to continue.';

export class CowherdError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly details: string[];

  constructor(code: ErrorCode, message: string, { hint, details, cause }: ErrorExtras = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'CowherdError';
    this.code = code;
    this.hint = hint ?? (code === 'INTERRUPTED' ? interruptedHint : undefined);
    this.details = details ?? [];
  }

  get exitCode(): number {
    return exitCodeOf[this.code];
  }
}

export const fullDiskHint =
  'The disk is full. "cowherd report" shows what uses it; "cowherd base prune", "cowherd compact FLEET" and "cowherd teardown FLEET" free some. Then run the command again.';

/** Whether an error or its cause is a full disk or quota. */
export function isDiskFull(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = 'code' in error ? error.code : undefined;
  return code === 'ENOSPC' || code === 'EDQUOT' || isDiskFull(error.cause);
}

/** Whether an error or its cause is a missing permission, which says nothing about the content of the file. */
export function isDenied(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = 'code' in error ? error.code : undefined;
  return code === 'EACCES' || code === 'EPERM' || isDenied(error.cause);
}

/** An error as it appears in JSON documents and per-member outcomes. */
export function reportOf(error: unknown): ErrorReport {
  if (error instanceof CowherdError) {
    return {
      code: error.code,
      message: error.message,
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      ...(error.details.length === 0 ? {} : { details: error.details }),
    };
  }
  return { code: 'BUG', message: error instanceof Error ? error.message : String(error) };
}
