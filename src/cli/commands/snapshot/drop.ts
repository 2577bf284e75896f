import { Flags } from '@oclif/core';
import { dropSnapshot } from '../../../services/snapshot/revert.js';
import { BaseCommand } from '../../base-command.js';
import { domainArg, shutdownFlags, snapshotArg, snapshotOptions, yesFlag } from '../../flags/snapshot.js';
import { renderSnapshotOutcome } from '../../render/snapshots.js';

export default class SnapshotDrop extends BaseCommand {
  static override summary = 'Put a domain back to what its newest snapshot stands on, and forget the snapshot.';
  static override description =
    `The disks in the XML become what they were before the take; other edits of the XML stay. What the guest has written since is
lost. Asks on a terminal; elsewhere --yes is needed.`;
  static override examples = [
    '<%= config.bin %> <%= command.id %> web --yes',
    { description: 'Although the original was changed meanwhile', command: '<%= config.bin %> <%= command.id %> web --accept-changed' },
  ];
  static override args = { ...domainArg, ...snapshotArg };
  static override flags = {
    ...shutdownFlags,
    ...yesFlag,
    'accept-changed': Flags.boolean({ description: 'go back to the disks below although they are not what they were at the take' }),
  };

  async run() {
    const { args, flags } = await this.parse(SnapshotDrop);
    return this.onHost(flags, async (host, work) => {
      const options = { ...work, ...snapshotOptions(args.domain, flags, !this.jsonEnabled(), work.signal) };
      const outcome = await dropSnapshot(host, { ...options, snapshot: args.snapshot, acceptChanged: flags['accept-changed'] });
      this.log(renderSnapshotOutcome(outcome, flags['print-diff']));
      return outcome;
    });
  }
}
