import { Args, Flags } from '@oclif/core';
import { copyInFleets, exitCodeOfCopy } from '../../services/guest/copy.js';
import { transports } from '../../services/guest/run.js';
import { BaseCommand } from '../base-command.js';
import { concurrencyFlags, fileFlag, timeoutFlag } from '../flags/run.js';
import { renderCopy } from '../render/guests.js';

export default class Cp extends BaseCommand {
  static override summary = 'Copy a file into guests, or fetch it from them.';
  static override description =
    `One side is FLEET:PATH or MEMBER:PATH, also with several names: web,db:PATH. With a fleet file it is :PATH. Fetched from a whole fleet, each member's file goes into a directory of its name. By scp
where ssh answers; else single files of up to 64 MiB go by the agent.`;
  static override examples = [
    { description: 'Into all members', command: '<%= config.bin %> <%= command.id %> app.tar.gz lab:/root/' },
    { description: 'Into some', command: '<%= config.bin %> <%= command.id %> motd lab:/etc/motd --members 1-3' },
    { description: 'From one', command: '<%= config.bin %> <%= command.id %> lab-002:/etc/hostname .' },
    {
      description: 'From all, into results/lab-001/junit.xml and so on',
      command: '<%= config.bin %> <%= command.id %> lab:/root/junit.xml results',
    },
  ];
  static override args = {
    source: Args.string({ description: 'FILE, FLEET:PATH or MEMBER:PATH; with --file, :PATH', required: true }),
    destination: Args.string({ description: 'the other side', required: true }),
  };
  static override flags = {
    ...fileFlag,
    members: Flags.string({ description: 'of a fleet, only these: 1-10,17', helpValue: 'MEMBERS' }),
    recursive: Flags.boolean({ char: 'r', description: 'directories, too; by ssh alone' }),
    via: Flags.option({ description: 'how: ssh where it answers, else the agent', options: transports, default: 'auto' })(),
    ...timeoutFlag('how long it may take for each guest [default: 10m]'),
    concurrency: concurrencyFlags.concurrency,
  };

  async run() {
    const { args, flags } = await this.parse(Cp);
    return this.onHost(flags, async (host, work) => {
      const outcomes = await copyInFleets(host, {
        ...work,
        source: args.source,
        destination: args.destination,
        file: flags.file,
        members: flags.members === undefined ? undefined : [flags.members],
        recursive: flags.recursive,
        via: flags.via,
        timeoutMs: flags.timeout,
      });
      for (const outcome of outcomes) {
        this.log(renderCopy(outcome));
        this.exitWith(exitCodeOfCopy(outcome));
      }
      const [only, ...others] = outcomes;
      return only !== undefined && others.length === 0 ? only : { fleets: outcomes };
    });
  }
}
