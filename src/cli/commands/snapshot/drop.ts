import { Flags } from '@oclif/core';
import { dropSnapshot } from '../../../services/snapshot/revert.js';
import { BaseCommand } from '../../base-command.js';
import { domainArg, newestSnapshotArg, shutdownFlags, snapshotOptions, yesFlag } from '../../flags/snapshot.js';
import { renderSnapshotOutcome } from '../../render/snapshots.js';

export default class SnapshotDrop extends BaseCommand {
  static override summary = 'Discard all changes since the newest snapshot and delete the snapshot.';
  static override description = [
    'The disks in the XML become what they were before the snapshot; other changes to the XML stay.',
    'Everything that the guest has written since is lost.',
    'On a terminal, asks for confirmation; elsewhere --yes is required.',
  ].join(' ');
  static override examples = [
    '<%= config.bin %> <%= command.id %> web --yes',
    { description: 'Even if the original disk has changed since', command: '<%= config.bin %> <%= command.id %> web --accept-changed' },
  ];
  static override args = { ...domainArg, ...newestSnapshotArg };
  static override flags = {
    ...shutdownFlags,
    ...yesFlag,
    'accept-changed': Flags.boolean({ description: 'continue even if the backing files have changed since the snapshot was taken' }),
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
