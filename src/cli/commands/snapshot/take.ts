import { Flags } from '@oclif/core';
import { takeSnapshot } from '../../../services/snapshot/take.js';
import { BaseCommand } from '../../base-command.js';
import { domainArg, shutdownFlags, snapshotOptions, yesFlag } from '../../flags/snapshot.js';
import { renderSnapshotOutcome } from '../../render/snapshots.js';

export default class SnapshotTake extends BaseCommand {
  static override summary = 'Put an overlay on each writable disk of a domain that cowherd did not make.';
  static override description =
    `Shuts the domain down, makes the overlays, points its XML at them, and starts it again if it ran. What the guest writes from
then on is in the overlays: roll it back, drop it, or commit it into the original disks. Several snapshots stand on each other.
Of a domain that runs, asks on a terminal before it is shut down; elsewhere --yes is needed.`;
  static override examples = [
    { description: 'Before something destructive', command: '<%= config.bin %> <%= command.id %> web --name before-upgrade' },
    { description: 'Of a domain that runs, without a question', command: '<%= config.bin %> <%= command.id %> web --yes' },
    { description: 'Look at what would change', command: '<%= config.bin %> <%= command.id %> web --print-diff' },
    { description: 'A guest that ignores the power button', command: '<%= config.bin %> <%= command.id %> web --timeout 20s --force' },
  ];
  static override args = domainArg;
  static override flags = {
    name: Flags.string({ description: 'name of the snapshot [default: the time, in UTC]' }),
    ...shutdownFlags,
    ...yesFlag,
    'trust-chain': Flags.boolean({ description: 'go by the first bytes of a backing file whose format is not recorded' }),
  };

  async run() {
    const { args, flags } = await this.parse(SnapshotTake);
    return this.onHost(flags, async (host, work) => {
      const options = { ...work, ...snapshotOptions(args.domain, flags, !this.jsonEnabled(), work.signal) };
      const outcome = await takeSnapshot(host, { ...options, name: flags.name, trustChain: flags['trust-chain'] });
      this.log(renderSnapshotOutcome(outcome, true));
      return outcome;
    });
  }
}
