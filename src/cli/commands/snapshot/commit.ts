import { commitSnapshot } from '../../../services/snapshot/revert.js';
import { BaseCommand } from '../../base-command.js';
import { domainArg, newestSnapshotArg, shutdownFlags, snapshotOptions, yesFlag } from '../../flags/snapshot.js';
import { renderSnapshotOutcome } from '../../render/snapshots.js';

export default class SnapshotCommit extends BaseCommand {
  static override summary = 'Merge the changes since the newest snapshot into its backing files.';
  static override description = [
    'The domain keeps its current state; you can no longer roll back to the snapshot.',
    'Refused while another domain or file uses the backing file.',
    'If it is interrupted, run the same command again to finish it.',
    'On a terminal, asks for confirmation; elsewhere --yes is required.',
  ].join(' ');
  static override examples = [
    '<%= config.bin %> <%= command.id %> web',
    { description: 'Without confirmation, and leave the domain off', command: '<%= config.bin %> <%= command.id %> web --yes --no-start' },
  ];
  static override args = { ...domainArg, ...newestSnapshotArg };
  static override flags = { ...shutdownFlags, ...yesFlag };

  async run() {
    const { args, flags } = await this.parse(SnapshotCommit);
    return this.onHost(flags, async (host, work) => {
      const options = { ...work, ...snapshotOptions(args.domain, flags, !this.jsonEnabled(), work.signal) };
      const outcome = await commitSnapshot(host, { ...options, snapshot: args.snapshot });
      this.log(renderSnapshotOutcome(outcome, flags['print-diff']));
      return outcome;
    });
  }
}
