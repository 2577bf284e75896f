import { CowherdError, type ErrorExtras } from '../errors.js';

export type RefusalReason = 'program not started' | 'forbidden' | 'other';

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
  return 'other';
}
