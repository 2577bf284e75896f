import { commitSnapshot } from '../../../services/snapshot/revert.js';
import { BaseCommand } from '../../base-command.js';
import { domainArg, shutdownFlags, snapshotArg, snapshotOptions, yesFlag } from '../../flags/snapshot.js';
import { renderSnapshotOutcome } from '../../render/snapshots.js';

export default class SnapshotCommit extends BaseCommand {
  static override summary = 'Merge what was written since the newest snapshot into what it stands on.';
  static override description =
    `The domain goes on as it is, on the disk below; the way back is gone. Refused while another domain or file stands on that disk.
Interrupted, it is finished by running it again. Asks on a terminal; elsewhere --yes is needed.`;
  static override examples = [
    '<%= config.bin %> <%= command.id %> web',
    { description: 'Without a question, and leave it off', command: '<%= config.bin %> <%= command.id %> web --yes --no-start' },
  ];
  static override args = { ...domainArg, ...snapshotArg };
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
