import { CowherdError } from '../../core/errors.js';
import type { MemberIdentity } from '../../core/fleet/identity.js';
import type { FleetRecord } from '../../core/fleet/record.js';
import { parseNetwork } from '../../core/spec/flag-values.js';
import type { Ports } from '../../ports/index.js';
import { refreshGuest } from '../guest/reidentify.js';
import { isAborted } from '../run/member-executor.js';
import type { MemberStanding } from './validation.js';

/** Updates guests after a restore: they do not know that time has passed. */

export interface PostRestoreOptions {
  hook?: string | undefined;
  timeoutMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

/** The agent's channel reconnects within a second or two; a guest with many gigabytes takes longer. */
const defaultMs = 60_000;
const pauseMs = 250;

export class PostRestoreFixup {
  private constructor(
    private readonly ports: Ports,
    private readonly options: PostRestoreOptions,
    /** MACs that hold a lease now; undefined if unknown. */
    private readonly leased: ReadonlySet<string> | undefined,
    private readonly hasDhcp: boolean,
  ) {}

  static async of(ports: Ports, record: FleetRecord, options: PostRestoreOptions): Promise<PostRestoreFixup> {
    const { kind, source } = parseNetwork(record.spec.network);
    if (kind !== 'network') return new PostRestoreFixup(ports, options, undefined, kind === 'bridge');
    const now = ports.clock.now().getTime();
    const leases = await ports.networks.leases(source);
    const held = leases.filter(({ expires }) => !(Date.parse(`${expires.replace(' ', 'T')}`) < now)).map(({ mac }) => mac);
    return new PostRestoreFixup(ports, options, new Set(held), true);
  }

  /** @throws NOT_READY, GUEST_UNREACHABLE if the agent answered at the checkpoint but does not answer now */
  async settle(member: MemberIdentity, standing: MemberStanding | undefined): Promise<void> {
    if (standing === undefined || !('record' in standing) || !standing.record.agent) {
      if (this.options.hook !== undefined) {
        throw new CowherdError(
          'GUEST_UNREACHABLE',
          `The guest agent of ${member.name} did not answer when the checkpoint was taken, so the hook cannot run`,
          {
            hint: 'Omit --hook, or install qemu-guest-agent in the base image.',
          },
        );
      }
      return;
    }
    const { clock } = this.ports;
    const { signal, hook } = this.options;
    const deadline = clock.monotonic() + (this.options.timeoutMs ?? defaultMs);
    const left = () => ({ timeoutMs: Math.max(1_000, deadline - clock.monotonic()), signal });
    const renew = this.hasDhcp && (this.leased === undefined || member.macs.some((mac) => !this.leased?.has(mac)));
    for (;;) {
      try {
        // libvirt reconnects the agent's channel when it learns of the restore, possibly during a call. These steps are idempotent; a hook
        // is not.
        await refreshGuest(this.ports, member.name, { clock: true, entropy: true, renew }, left());
        break;
      } catch (error) {
        const isOver = clock.monotonic() >= deadline || isAborted(signal);
        if (isOver || !(error instanceof CowherdError) || error.code !== 'GUEST_UNREACHABLE') throw error;
        await clock.sleep(pauseMs, signal);
      }
    }
    if (hook !== undefined) await refreshGuest(this.ports, member.name, { clock: false, entropy: false, renew: false, hook }, left());
  }
}
