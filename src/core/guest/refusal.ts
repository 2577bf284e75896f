import { CowherdError, type ErrorExtras } from '../errors.js';

export type RefusalReason = 'program not started' | 'forbidden' | 'no space' | 'other';

/** An error reply of a guest agent. The reason is a field, since the message contains text of the guest. */
export class AgentRefusal extends CowherdError {
  readonly reason: RefusalReason;

  constructor(reason: RefusalReason, message: string, extras: ErrorExtras = {}) {
    super('GUEST_REFUSED', message, extras);
    this.reason = reason;
  }
}

/**
 * Why qemu-ga refused, from its text, since it has no error codes.
 * @param text its error description, without libvirt's prefix
 * Source: QEMU, qapi/qmp-dispatch.c (do_qmp_dispatch) and qga/commands.c (qmp_guest_exec); glib, gspawn.c
 */
export function refusalReason(text: string): RefusalReason {
  if (/^(Guest (agent )?command failed(, error was|:) '?)?Failed to execute child process/i.test(text)) return 'program not started';
  // Before QEMU 5 "The command guest-exec has been disabled for this instance"; since then without "The", and 9.2 appends why.
  if (/^(The )?command \S+ has been disabled/i.test(text)) return 'forbidden';
  if (/No space left on device/i.test(text)) return 'no space';
  return 'other';
}

/** What to do about a refusal of a member's agent. */
export function refusalHint(reason: RefusalReason, member: string): string {
  if (reason === 'forbidden')
    return 'Some distributions disable commands of qemu-ga: see its BLACKLIST_RPC or --allow-rpcs setting in the guest.';
  if (reason === 'no space') return `Check whether its disk is full: cowherd exec ${member} -- df -h`;
  return 'Check the paths in the guest, and whether qemu-ga may use them, or use ssh: --via ssh.';
}
