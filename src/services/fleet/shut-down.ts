import { formatDuration } from '../../core/duration.js';
import { CowherdError } from '../../core/errors.js';
import { shellWord } from '../../core/quoting.js';
import type { Ports } from '../../ports/index.js';
import { isAborted } from '../run/member-executor.js';

/** Shuts down guests by their agent or the power button, and waits for them. */

const defaultShutdownMs = 60_000;
/** When to repeat the request, since a guest that is still booting ignores it; then every {@link lastAgainMs}. */
const askAgainMs = [2_000, 5_000];
const lastAgainMs = 10_000;
export const shutdownPollMs = 250;

export interface ShutdownRequest {
  /** For messages. */
  name: string;
  /** Name or UUID for libvirt. */
  ref: string;
  isOn: () => Promise<boolean>;
  /** Force the guest off if it does not shut down in time. */
  force: boolean;
  timeoutMs: number | undefined;
  signal: AbortSignal | undefined;
}

/** Waits for a call with a time limit: libvirt does not answer if QEMU hangs. */
async function within(clock: Ports['clock'], call: Promise<void>, milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  const enough = new AbortController();
  const signals = signal === undefined ? enough.signal : AbortSignal.any([signal, enough.signal]);
  // Ignore a failure after the time limit.
  call.catch(() => undefined);
  try {
    await Promise.race([call, clock.sleep(milliseconds, signals)]);
  } finally {
    enough.abort();
  }
}

/** @throws NOT_STOPPED, INTERRUPTED; in both cases the guest may still shut down */
export async function shutDownGuest(ports: Pick<Ports, 'hypervisor' | 'clock'>, request: ShutdownRequest): Promise<void> {
  const { name, ref, isOn, force, timeoutMs = defaultShutdownMs, signal } = request;
  const deadline = ports.clock.monotonic() + timeoutMs;
  let asked = 0;
  let askAt = ports.clock.monotonic();
  while (await isOn()) {
    if (isAborted(signal)) {
      throw new CowherdError('INTERRUPTED', `Interrupted while ${name} was shutting down`, {
        hint: `It may still shut down. To start it again: virsh start ${shellWord(ref)}`,
      });
    }
    const now = ports.clock.monotonic();
    if (now >= askAt) {
      const isFirst = asked === 0;
      askAt = now + (askAgainMs[asked++] ?? lastAgainMs);
      await within(ports.clock, ports.hypervisor.shutdown(ref), deadline - now, signal).catch((error: unknown) => {
        // With force, a guest that cannot be asked is treated like one that ignores the request.
        if (!force && isFirst) throw error;
      });
    }
    if (ports.clock.monotonic() >= deadline) {
      if (force) return ports.hypervisor.destroy(ref);
      throw new CowherdError('NOT_STOPPED', `${name} did not shut down within ${formatDuration(timeoutMs)}`, {
        hint: 'It may be booting or ignore the power button, and may still shut down. Allow more time with --timeout, or force it off with --force.',
      });
    }
    await ports.clock.sleep(shutdownPollMs, signal);
  }
}
