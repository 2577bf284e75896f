import { rollbackSnapshot } from '../../../services/snapshot/revert.js';
import { BaseCommand } from '../../base-command.js';
import { domainArg, shutdownFlags, snapshotArg, snapshotOptions, yesFlag } from '../../flags/snapshot.js';
import { renderSnapshotOutcome } from '../../render/snapshots.js';

export default class SnapshotRollback extends BaseCommand {
  static override summary = 'Restore a domain to a snapshot, with fresh overlays.';
  static override description = [
    'The snapshot stays, so you can roll back to it again; newer snapshots are deleted.',
    'Everything that the guest has written since is lost, including firmware variables.',
    'On a terminal, asks for confirmation; elsewhere --yes is required.',
  ].join(' ');
  static override examples = [
    { description: 'To the newest snapshot', command: '<%= config.bin %> <%= command.id %> web --yes' },
    { description: 'To an older snapshot; newer ones are deleted', command: '<%= config.bin %> <%= command.id %> web before-upgrade' },
  ];
  static override args = { ...domainArg, ...snapshotArg };
  static override flags = { ...shutdownFlags, ...yesFlag };

  async run() {
    const { args, flags } = await this.parse(SnapshotRollback);
    return this.onHost(flags, async (host, work) => {
      const options = { ...work, ...snapshotOptions(args.domain, flags, !this.jsonEnabled(), work.signal) };
      const outcome = await rollbackSnapshot(host, { ...options, snapshot: args.snapshot });
      this.log(renderSnapshotOutcome(outcome, flags['print-diff']));
      return outcome;
    });
  }
}
