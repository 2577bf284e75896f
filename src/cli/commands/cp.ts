import { Args, Flags } from '@oclif/core';
import { exitCodeOfCopy } from '../../services/guest/copy.js';
import { transports } from '../../services/guest/run.js';
import { BaseCommand } from '../base-command.js';
import { concurrencyFlags, fileFlag, timeoutFlag } from '../flags/run.js';
import { renderCopy } from '../render/guests.js';

export default class Cp extends BaseCommand {
  static override summary = 'Copy files to guests or from guests.';
  static override description = [
    'Exactly one of SOURCE and DESTINATION is in guests: FLEET:PATH, MEMBER:PATH, or several names, as in web,db:PATH. With --file, write :PATH.',
    'When you copy from a whole fleet, the file of each member goes into a directory named after the member.',
    'Uses scp if ssh answers; otherwise the guest agent copies single files of up to 64 MiB.',
  ].join(' ');
  static override examples = [
    { description: 'To all members', command: '<%= config.bin %> <%= command.id %> app.tar.gz lab:/root/' },
    { description: 'To some members', command: '<%= config.bin %> <%= command.id %> motd lab:/etc/motd --members 1-3' },
    { description: 'From one member', command: '<%= config.bin %> <%= command.id %> lab-002:/etc/hostname .' },
    {
      description: 'From all members, to results/lab-001/junit.xml and so on',
      command: '<%= config.bin %> <%= command.id %> lab:/root/junit.xml results',
    },
  ];
  static override args = {
    source: Args.string({ description: 'what to copy: FILE on this host, or FLEET:PATH or MEMBER:PATH in guests', required: true }),
    destination: Args.string({ description: 'where to copy it, in the same form', required: true }),
  };
  static override flags = {
    ...fileFlag,
    members: Flags.string({ description: 'copy to or from these members only, such as 1-10,17', helpValue: 'MEMBERS' }),
    recursive: Flags.boolean({ char: 'r', description: 'copy directories; requires ssh' }),
    via: Flags.option({
      description: 'transport; auto uses ssh if it answers, otherwise the agent',
      options: transports,
      default: 'auto',
    })(),
    ...timeoutFlag('time limit for each guest [default: 10m]'),
    concurrency: concurrencyFlags.concurrency,
  };

  async run() {
    const { args, flags } = await this.parse(Cp);
    return this.onEngine(flags, async (engine, work) => {
      const outcomes = await engine.copy({
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
