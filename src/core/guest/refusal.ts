import { CowherdError, type ErrorExtras } from '../errors.js';

export type RefusalReason = 'program not started' | 'forbidden' | 'other';

/** An error that a guest agent answered with. Its reason is a field: the message also has names and text of the guest in it. */
export class AgentRefusal extends CowherdError {
  readonly reason: RefusalReason;

  constructor(reason: RefusalReason, message: string, extras: ErrorExtras = {}) {
    super('GUEST_REFUSED', message, extras);
    this.reason = reason;
  }
}

/**
 * Why qemu-ga refused; it gives no codes.
 * @param text its description of the error, without what libvirt puts around it
 * Source: QEMU, qapi/qmp-dispatch.c (do_qmp_dispatch) and qga/commands.c (qmp_guest_exec); glib, gspawn.c
 */
export function refusalReason(text: string): RefusalReason {
  if (/^(Guest (agent )?command failed(, error was|:) '?)?Failed to execute child process/i.test(text)) return 'program not started';
  // Before QEMU 5 "The command guest-exec has been disabled for this instance"; since then without "The", and 9.2 appends why.
  if (/^(The )?command \S+ has been disabled/i.test(text)) return 'forbidden';
  return 'other';
}
