import { Flags } from '@oclif/core';
import { limits } from '../../core/limits.js';
import { parseFlagValues } from '../../core/spec/spec.js';
import { doctor } from '../../services/preflight/doctor.js';
import { BaseCommand } from '../base-command.js';
import { renderChecks } from '../render/checks.js';

export default class Doctor extends BaseCommand {
  static override summary = 'Check all that a fleet needs from this host, and say what to do about each.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    { description: "Start libvirt's own network", command: '<%= config.bin %> <%= command.id %> --start-network default' },
    { description: 'Would a hundred guests of 2 GiB fit?', command: '<%= config.bin %> <%= command.id %> --count 100 --memory 2GiB' },
  ];
  static override flags = {
    count: Flags.integer({ description: 'number of guests that are meant to run', default: 0, min: 0, max: limits.members.max }),
    memory: Flags.string({ description: 'memory of each', default: '512' }),
    disk: Flags.string({ description: 'virtual disk size of each', default: '10GiB' }),
    'start-network': Flags.string({ description: 'start this libvirt network first, e.g. default', helpValue: 'NAME' }),
    network: Flags.string({ description: 'network of each', default: 'user' }),
    fresh: Flags.boolean({ description: 'probe the accelerator again, although the answer is known' }),
  };

  async run() {
    const { flags } = await this.parse(Doctor);
    const { memory = 512, network = 'user' } = parseFlagValues({ memory: flags.memory, network: flags.network });
    const { disks = [] } = parseFlagValues({ disks: [{ size: flags.disk }] });
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
