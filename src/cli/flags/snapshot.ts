import { Args, Flags } from '@oclif/core';
import { CowherdError } from '../../core/errors.js';
import type { SnapshotOptions } from '../../services/snapshot/access.js';
import { confirmed, isTerminal } from '../terminal/confirm.js';
import { timeoutFlag } from './run.js';

/** What the snapshot verbs share on the command line. */

export const domainArg = { domain: Args.string({ description: 'name or UUID of a domain that cowherd did not make', required: true }) };

export const snapshotArg = { snapshot: Args.string({ description: 'its name or number [default: the newest]' }) };

export const shutdownFlags = {
  ...timeoutFlag('how long the guest may take to shut down [default: 1m]'),
  force: Flags.boolean({ description: 'end the guest where it did not shut down in time' }),
  'no-start': Flags.boolean({ description: 'leave the domain off afterwards, also if it ran' }),
  'print-diff': Flags.boolean({ description: "show what would change in the domain's XML, and change nothing" }),
};

export const yesFlag = { yes: Flags.boolean({ char: 'y', description: 'do not ask' }) };

interface ShutdownValues {
  timeout?: number | undefined;
  force: boolean;
  'no-start': boolean;
  'print-diff': boolean;
  yes?: boolean;
}

/** @param isAskable whether a person sits there and no document is wanted */
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
    const what = isLoss ? 'This cannot be undone' : 'The domain runs and would be shut down';
    throw new CowherdError('CONFIRMATION_NEEDED', `${what}, and there is no terminal to ask on; nothing was changed`, {
      details: [question],
      hint: 'Add --yes, or look first with --print-diff.',
    });
  }
  await confirmed(question, signal);
}
