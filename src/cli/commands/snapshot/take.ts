import { Flags } from '@oclif/core';
import { takeSnapshot } from '../../../services/snapshot/take.js';
import { BaseCommand } from '../../base-command.js';
import { domainArg, shutdownFlags, snapshotOptions, yesFlag } from '../../flags/snapshot.js';
import { renderSnapshotOutcome } from '../../render/snapshots.js';

export default class SnapshotTake extends BaseCommand {
  static override summary = 'Take a snapshot: put an overlay on each writable disk of a domain that cowherd did not create.';
  static override description = [
    'Shuts the domain down, creates the overlays, points the XML at them, and starts the domain again if it was running.',
    'From then on the guest writes to the overlays: you can roll back, drop the snapshot, or commit it into the original disks. You can take several snapshots of a domain.',
    'If the domain is running, asks on a terminal before shutting it down; elsewhere --yes is required.',
  ].join(' ');
  static override examples = [
    { description: 'Before something destructive', command: '<%= config.bin %> <%= command.id %> web --name before-upgrade' },
    { description: 'Of a running domain, without confirmation', command: '<%= config.bin %> <%= command.id %> web --yes' },
    { description: 'Show what would change', command: '<%= config.bin %> <%= command.id %> web --print-diff' },
    { description: 'A guest that ignores the power button', command: '<%= config.bin %> <%= command.id %> web --timeout 20s --force' },
  ];
  static override args = domainArg;
  static override flags = {
    name: Flags.string({ description: 'name of the snapshot [default: the current time in UTC]' }),
    ...shutdownFlags,
    ...yesFlag,
    'trust-chain': Flags.boolean({ description: 'auto-detect the format of a backing file if it is not recorded' }),
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
