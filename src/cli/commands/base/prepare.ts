import { Args, Flags } from '@oclif/core';
import { exitCodeOfOutcome } from '../../../core/fleet/outcome.js';
import { spawnDefaults } from '../../../services/fleet/spawn/input/defaults.js';
import { readPublicKeys } from '../../../services/guest/seeds.js';
import { BaseCommand } from '../../base-command.js';
import { readDefaults } from '../../defaults.js';
import { dryRunFlag, timeoutFlag } from '../../flags/run.js';
import { seedFlags, specFlags, specOf } from '../../flags/spec.js';
import { renderPromotion } from '../../render/bases.js';
import { renderOutcome } from '../../render/outcome.js';
import { LabelledLines } from '../../terminal/labelled.js';
import { page } from '../../terminal/layout.js';

export default class BasePrepare extends BaseCommand {
  static override summary = 'Create a base image from another one: boot a VM, run commands in it, and promote its disk.';
  static override description = [
    'The VM is the only member of the fleet IMAGE-prepare. It is removed at the end, also after a failure.',
    'Commands run in order, by the guest agent if it answers, otherwise by ssh. The first one that fails ends the preparation, and no image is created.',
    'A script runs with the interpreter of its #! line [default: sh].',
  ].join(' ');
  static override examples = [
    {
      description: 'Install a package',
      command: '<%= config.bin %> <%= command.id %> debian-12 --run "apt-get update" --run "apt-get install -y nginx" --as web',
    },
    {
      description: 'Run a script, in an image without a guest agent',
      command: '<%= config.bin %> <%= command.id %> debian-12 --script setup.sh --seed nocloud --wait ssh --generalize --as web',
    },
    { description: 'Only generalize an image', command: '<%= config.bin %> <%= command.id %> golden --generalize --as clean' },
    {
      description: 'Look into the VM if the script fails',
      command: '<%= config.bin %> <%= command.id %> debian-12 --script setup.sh --as web --keep',
    },
  ];
  static override args = {
    base: Args.string({ description: 'the image to start from: a base image in the store, or a file', required: true }),
  };
  static override flags = {
    as: Flags.string({ description: 'name of the new base image', required: true, helpValue: 'IMAGE' }),
    run: Flags.string({
      description: 'command for the shell of the guest; several run in this order',
      helpValue: 'CMD',
      multiple: true,
      exclusive: ['script'],
    }),
    script: Flags.string({ description: 'script of this host to run in the guest, up to 64 KiB', helpValue: 'FILE' }),
    generalize: Flags.boolean({
      description:
        'then remove machine-id, ssh host keys, cloud-init state, leases, logs and other state that clones must not share [default: no]',
      allowNo: true,
    }),
    keep: Flags.boolean({ description: 'if it fails, keep the VM to look into it' }),
    ...{ memory: specFlags.memory, vcpus: specFlags.vcpus, network: specFlags.network, seed: specFlags.seed },
    ...{ firmware: specFlags.firmware, 'disk-size': specFlags['disk-size'], 'ssh-user': specFlags['ssh-user'] },
    ...{ 'user-data': seedFlags['user-data'], 'ssh-key': seedFlags['ssh-key'] },
    wait: Flags.string({
      description: 'stages to reach before the commands run, as for spawn [default: that of the image, otherwise agent]',
      helpValue: 'STAGE',
    }),
    ...timeoutFlag('how long the VM may take until it is ready and all commands have ended [default: 30m]'),
    ...dryRunFlag,
  };

  async run() {
    const { args, flags } = await this.parse(BasePrepare);
    const spec = specOf(flags);
    const sshKeys = await readPublicKeys(this.files, flags['ssh-key']);
    const { network, template } = await spawnDefaults(this.files, (await readDefaults()).settings);
    const output = new LabelledLines((line) => this.log(line));
    const isLive = !this.jsonEnabled();
    return this.onHost(flags, async (host, { signal, onProgress }) => {
      const { prepareBase } = await import('../../../services/base/prepare/prepare.js');
      const result = await prepareBase(host, {
        ...{ signal, onProgress },
        from: args.base,
        as: flags.as,
        run: flags.run,
        script: flags.script,
        generalize: flags.generalize,
        keep: flags.keep,
        spec: { ...spec, ...(sshKeys === undefined ? {} : { sshKeys }) },
        userData: flags['user-data'],
        defaults: { ...(network === undefined ? {} : { network }), ...(template === undefined ? {} : { template }) },
        wait: flags.wait,
        timeoutMs: flags.timeout,
        dryRun: flags['dry-run'],
        ...(isLive
          ? {
              onOutput: (name, stream, text) => output.push(name, text, stream),
              onStep: (name) => output.end(name),
            }
          : {}),
      });
      if ('operation' in result) {
        this.log(renderOutcome(result));
        this.exitWith(exitCodeOfOutcome(result));
        return result;
      }
      this.log(renderPromotion(result));
      for (const note of result.notes) this.logToStderr(page(`note: ${note}`, process.stderr));
      return result;
    });
  }
}
