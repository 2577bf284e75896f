import { Flags } from '@oclif/core';
import { CowherdError } from './core/errors.js';
import { type DomainSpec, type FleetInput, parseFlagValues } from './core/spec.js';

/** Flags that say what a member's domain is like: of spawn and template render. */
export const specFlags = {
  memory: Flags.string({ char: 'm', description: 'memory of each guest: MiB, or 512MiB, 2GiB [default: 512]', helpValue: 'SIZE' }),
  vcpus: Flags.integer({ description: 'virtual CPUs of each guest [default: 1]', min: 1, max: 512 }),
  'virt-type': Flags.option({
    description: 'accelerator [default: auto, by running a probe guest]',
    options: ['auto', 'kvm', 'qemu'] as const,
  })(),
  network: Flags.string({ description: 'none, user, network=NAME or bridge=NAME [default: user]' }),
  'disk-cache': Flags.option({
    description: "QEMU's cache mode of the overlays [default: writeback]",
    options: ['writeback', 'unsafe', 'none', 'writethrough', 'directsync'] as const,
  })(),
  lean: Flags.boolean({ description: 'leave out what makes starts slow [default: yes]', allowNo: true }),
  template: Flags.string({ description: 'a domain XML template of your own', helpValue: 'FILE' }),
  var: Flags.string({ description: 'a variable for the template, as {{vars.NAME}}', helpValue: 'NAME=VALUE', multiple: true }),
};

/** `NAME=VALUE` words → an object. @returns undefined where there are none, so that recorded variables stay */
function parseVariables(words: readonly string[] | undefined): Record<string, string> | undefined {
  if (words === undefined || words.length === 0) return undefined;
  return Object.fromEntries(
    words.map((word) => {
      const match = /^([^=]+)=(.*)$/s.exec(word);
      if (match === null) throw new CowherdError('BAD_USAGE', `--var ${word} has no value`, { hint: 'Write --var NAME=VALUE.' });
      return [match[1] ?? '', match[2] ?? ''];
    }),
  );
}

export interface SpecFlagValues {
  memory?: string | undefined;
  vcpus?: number | undefined;
  'virt-type'?: DomainSpec['virtType'] | undefined;
  network?: string | undefined;
  'disk-cache'?: DomainSpec['diskCache'] | undefined;
  lean?: boolean | undefined;
  var?: string[] | undefined;
}

/**
 * The flags as a spec, over what a fleet file says. What neither says is undefined.
 * @throws BAD_USAGE
 */
export function specOf(flags: SpecFlagValues, input: Partial<FleetInput> = {}): Partial<Omit<DomainSpec, 'template'>> {
  const given = parseFlagValues({ memory: flags.memory, network: flags.network, variables: parseVariables(flags.var) });
  return {
    memoryMiB: given.memory ?? input.memory,
    vcpus: flags.vcpus ?? input.vcpus,
    virtType: flags['virt-type'] ?? input.virtType,
    network: given.network ?? input.network,
    diskCache: flags['disk-cache'] ?? input.diskCache,
    lean: flags.lean ?? input.lean,
    variables: given.variables ?? input.variables,
  } as Partial<Omit<DomainSpec, 'template'>>;
}
