import { Flags } from '@oclif/core';
import { limits } from '../../core/limits.js';
import { parseFlagValues } from '../../core/spec/flag-values.js';
import { doctor } from '../../services/preflight/doctor.js';
import { BaseCommand } from '../base-command.js';
import { renderChecks } from '../render/checks.js';

export default class Doctor extends BaseCommand {
  static override summary = 'Check that this host can run fleets, and suggest a fix for each problem.';
  static override description = 'The exit code is 3 if a check fails.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    { description: "Start libvirt's default network", command: '<%= config.bin %> <%= command.id %> --start-network default' },
    {
      description: 'Check whether a hundred guests of 2 GiB fit',
      command: '<%= config.bin %> <%= command.id %> --count 100 --memory 2GiB',
    },
  ];
  static override flags = {
    count: Flags.integer({
      description: 'check whether this many guests fit into memory and disk space',
      default: 0,
      min: 0,
      max: limits.members.max,
    }),
    memory: Flags.string({ description: 'memory of each guest: 512MiB, 2GiB, or a number of MiB; only with --count', default: '512MiB' }),
    disk: Flags.string({ description: 'virtual disk size of each guest: 10GiB, or a number of MiB; only with --count', default: '10GiB' }),
    'start-network': Flags.string({ description: 'start this libvirt network first, for example default', helpValue: 'NAME' }),
    network: Flags.string({ description: 'network of each guest: none, user, network=NAME or bridge=NAME', default: 'user' }),
    fresh: Flags.boolean({ description: 'probe the accelerator again, even if the result is cached' }),
  };

  async run() {
    const { flags } = await this.parse(Doctor);
    const given = { memory: flags.memory, network: flags.network, disks: [{ size: flags.disk }] };
    const { memory = 512, network = 'user', disks = [] } = parseFlagValues(given, 'doctor');
    return this.onHost(flags, async (host) => {
      if (flags['start-network'] !== undefined) await host.networks.start(flags['start-network']);
      const checks = await doctor(host, {
        sessions: 8,
        count: flags.count,
        memoryMiB: memory,
        virtualBytes: (disks[0]?.size ?? 0) * 1024 ** 2,
        network,
        fresh: flags.fresh,
      });
      this.log(renderChecks(checks));
      if (checks.some((check) => check.status === 'failed')) this.exitWith(3);
      return { connection: host.hypervisor.uri, store: host.fleets.root, checks };
    });
  }
}
