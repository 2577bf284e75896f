import { formatDuration } from '../../core/duration.js';
import { CowherdError } from '../../core/errors.js';
import type { Ports } from '../../ports/index.js';
import { isAborted } from '../run/member-executor.js';

/** Guests are asked to shut down, by their agent or the power button, and waited for. */

export const defaultShutdownMs = 60_000;
/** A guest that is still booting loses what it is asked. */
const askAgainMs = 10_000;
export const shutdownPollMs = 250;

export interface ShutdownRequest {
  /** For messages. */
  name: string;
  /** What libvirt is to be told. */
  handle: string;
  isOn: () => Promise<boolean>;
  /** End the guest at once where it did not shut down in time. */
  force: boolean;
  timeoutMs: number | undefined;
  signal: AbortSignal | undefined;
}

/** Waits for a call, and no longer than that: a QEMU that hangs keeps libvirt from answering. */
async function within(clock: Ports['clock'], call: Promise<void>, milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  const enough = new AbortController();
  const signals = signal === undefined ? enough.signal : AbortSignal.any([signal, enough.signal]);
  // Should it fail after that, nothing waits for it any more.
  call.catch(() => undefined);
  try {
    await Promise.race([call, clock.sleep(milliseconds, signals)]);
  } finally {
    enough.abort();
  }
}

/** @throws NOT_STOPPED, INTERRUPTED; in both cases the guest may still go off */
export async function shutDownGuest(ports: Pick<Ports, 'hypervisor' | 'clock'>, request: ShutdownRequest): Promise<void> {
  const { name, handle, isOn, force, timeoutMs = defaultShutdownMs, signal } = request;
  const deadline = ports.clock.monotonic() + timeoutMs;
  let asked: number | undefined;
  while (await isOn()) {
    if (isAborted(signal)) {
      throw new CowherdError('INTERRUPTED', `Interrupted while ${name} was shutting down`, {
        hint: `It has been asked, and may still go off. If it does: virsh start ${name}`,
      });
    }
    if (asked === undefined || ports.clock.monotonic() - asked >= askAgainMs) {
      const isFirst = asked === undefined;
      asked = ports.clock.monotonic();
      await within(ports.clock, ports.hypervisor.shutdown(handle), deadline - asked, signal).catch((error: unknown) => {
        // One that cannot even be asked is waited for like one that does not listen, if force is allowed.
        if (!force && isFirst) throw error;
      });
    }
    if (ports.clock.monotonic() >= deadline) {
      if (force) return ports.hypervisor.destroy(handle);
      throw new CowherdError('NOT_STOPPED', `${name} did not shut down within ${formatDuration(timeoutMs)}`, {
        hint: 'It may be booting, or ignore the power button, and it may still go off. Give it longer with --timeout, or end it with --force.',
      });
    }
    await ports.clock.sleep(shutdownPollMs, signal);
  }
}
