import { type Command, CommandHelp, Help } from '@oclif/core';

/** Help with flags grouped by topic and a usage of one line. */

/** In display order. */
const groups: Record<string, readonly string[]> = {
  'BASE IMAGE': [
    'base',
    'format',
    'trust-chain',
    'from-domain',
    'from-running',
    'keep-frozen',
    'share-tpm',
    'nvram',
    'layered',
    'canary',
    'batch',
    'keep-drift',
  ],
  GUEST: [
    'memory',
    'vcpus',
    'virt-type',
    'cpu',
    'firmware',
    'tpm',
    'disk',
    'disk-size',
    'disk-cache',
    'overlay',
    'lean',
    'template',
    'var',
  ],
  NETWORK: ['network', 'forward-ssh', 'start-network'],
  LOGIN: ['seed', 'user-data', 'user-data-raw', 'meta-data', 'network-config', 'ssh-key', 'ssh-user', 'secret', 'keep-instance'],
  CLOUD: ['flavor', 'key', 'az', 'security-group'],
  READINESS: ['wait', 'timeout'],
  RUN: ['concurrency', 'boot-concurrency', 'lock-timeout', 'dry-run', 'force', 'start', 'no-start', 'yes', 'print-diff'],
};

/** Commands with fewer flags show them without headings. */
const fewFlags = 8;

const order = [...Object.keys(groups), 'GLOBAL'];
const groupOf = new Map(Object.entries(groups).flatMap(([group, names]) => names.map((name) => [name, group] as const)));

class GroupedCommandHelp extends CommandHelp {
  protected override defaultUsage(): string {
    const args = Object.values(this.command.args ?? {}).filter(({ hidden }) => hidden !== true);
    const words = args.map(({ name, required }) => (required === true ? name.toUpperCase() : `[${name.toUpperCase()}]`));
    return [this.command.id, ...words, '[FLAGS]'].join(' ');
  }

  protected override groupFlags(flags: Command.Flag.Any[]): ReturnType<CommandHelp['groupFlags']> {
    const { mainFlags, flagGroups } = super.groupFlags(flags);
    if (mainFlags.length < fewFlags) return { mainFlags, flagGroups };
    const rest: Command.Flag.Any[] = [];
    for (const flag of mainFlags) {
      const group = groupOf.get(flag.name);
      if (group === undefined) {
        rest.push(flag);
        continue;
      }
      flagGroups[group] = [...(flagGroups[group] ?? []), flag];
    }
    const sorted = Object.entries(flagGroups).sort(([one], [other]) => order.indexOf(one) - order.indexOf(other));
    return { mainFlags: rest, flagGroups: Object.fromEntries(sorted) };
  }
}

export default class GroupedHelp extends Help {
  protected override CommandHelpClass = GroupedCommandHelp;
}
