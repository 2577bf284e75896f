import { Args, Flags } from '@oclif/core';
import { CowherdError } from '../../core/errors.js';
import type { SnapshotOptions } from '../../services/snapshot/access.js';
import { confirmed, isTerminal } from '../terminal/confirm.js';
import { timeoutFlag } from './run.js';

/** Arguments and flags shared by the snapshot commands. */

export const domainArg = { domain: Args.string({ description: 'name or UUID of a domain that cowherd did not create', required: true }) };

/** commit and drop accept the newest one only: its name is a safety check. */
export const newestSnapshotArg = {
  snapshot: Args.string({ description: 'name or number of the newest snapshot; others are refused [default: the newest]' }),
};

export const snapshotArg = { snapshot: Args.string({ description: 'name or number of the snapshot [default: the newest]' }) };

export const shutdownFlags = {
  ...timeoutFlag('how long to wait for the guest to shut down [default: 1m]'),
  force: Flags.boolean({ description: 'force the guest off if it does not shut down in time' }),
  'no-start': Flags.boolean({ description: 'leave the domain off afterwards, even if it was running' }),
  'print-diff': Flags.boolean({ description: "show the changes to the domain's XML, without making them" }),
};

export const yesFlag = { yes: Flags.boolean({ char: 'y', description: 'do not ask for confirmation' }) };

interface ShutdownValues {
  timeout?: number | undefined;
  force: boolean;
  'no-start': boolean;
  'print-diff': boolean;
  yes?: boolean;
}

/** @param isAskable whether a question may be asked: not with --json */
export function snapshotOptions(domain: string, flags: ShutdownValues, isAskable: boolean, signal?: AbortSignal): SnapshotOptions {
  return {
    domain,
    timeoutMs: flags.timeout,
    force: flags.force,
    start: !flags['no-start'],
    diffOnly: flags['print-diff'],
    ...(flags.yes === true ? {} : { approve: (question, isLoss) => ask(question, isLoss, isAskable, signal) }),
  };
}

async function ask(question: string, isLoss: boolean, isAskable: boolean, signal: AbortSignal | undefined): Promise<void> {
  if (!isAskable || !isTerminal()) {
    const what = isLoss ? 'This cannot be undone' : 'The domain is running and would be shut down';
    throw new CowherdError('CONFIRMATION_NEEDED', `${what}; confirmation required, but stdin is not a terminal; nothing was changed`, {
      details: [question],
      hint: 'Add --yes, or look first with --print-diff.',
    });
  }
  await confirmed(question, signal);
}
