import { CowherdError } from '../errors.js';
import { shellWord } from '../quoting.js';

export interface OpenIn {
  pid: number;
  /** Process name. */
  name: string;
}

/** A disk image that another process has open, so that it cannot be checked. */
export class OpenElsewhere extends CowherdError {
  /** @param processes the visible ones */
  constructor(path: string, processes: readonly OpenIn[], cause?: unknown) {
    const [first] = processes;
    const names = processes.map(({ name, pid }) => `${name} (pid ${pid})`).join(' and ');
    const whose = first === undefined ? 'another process' : names;
    super('BASE_REFUSED', `${path} is in use: it is open in ${whose}`, { hint: hintFor(path, processes), cause });
  }
}

function hintFor(path: string, processes: readonly OpenIn[]): string {
  if (processes.length === 0)
    return `Close it there, then run the command again. As root, "fuser ${shellWord(path)}" (package psmisc) names the process.`;
  const pids = processes.map(({ pid }) => pid).join(' ');
  if (processes.some(({ name }) => /^(qemu-system|qemu-kvm|kvm$|guestfs|guestmount)/.test(name)))
    return 'Shut down the virtual machine that uses it (or guestunmount it), then run the command again.';
  return `Unmount it, stop that process (kill ${pids}), then run the command again. The disk is not damaged.`;
}
