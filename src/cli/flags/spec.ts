import { Flags } from '@oclif/core';
import type { z } from 'zod';
import { CowherdError } from '../../core/errors.js';
import { defaultOverlayFormat, formatOverlay } from '../../core/image/overlay-format.js';
import { limits } from '../../core/limits.js';
import { parseFlagValues } from '../../core/spec/flag-values.js';
import type { DiskSpec, DomainSpec, diskInputSchema, FleetInput, fleetSchema, GivenSpec } from '../../core/spec/spec.js';

/** Flags for the domain of a member, shared by spawn and template render. */
export const specFlags = {
  memory: Flags.string({
    char: 'm',
    description: 'memory of each guest: 512MiB, 2GiB, or a number of MiB [default: 512MiB, or more if the image needs more]',
    helpValue: 'SIZE',
  }),
  vcpus: Flags.integer({ description: 'virtual CPUs of each guest [default: 1]', ...limits.vcpus }),
  'virt-type': Flags.option({
    description: 'accelerator [default: auto, which runs probe guests]',
    options: ['auto', 'kvm', 'qemu'] as const,
  })(),
  cpu: Flags.string({
    description:
      'CPU model: host-model (default under KVM), host-passthrough (allows nested virtualization), max, x86-64-v2, or a libvirt model',
    helpValue: 'CPU',
  }),
  network: Flags.string({ description: 'network: none, user, network=NAME or bridge=NAME [default: user]' }),
  'disk-cache': Flags.option({
    description: 'QEMU cache mode of the overlays [default: writeback]',
    options: ['writeback', 'unsafe', 'none', 'writethrough', 'directsync'] as const,
  })(),
  lean: Flags.boolean({
    description:
      "omit the USB controller, the network boot ROM and libvirt's query of CPU features, so that guests start faster [default: yes]",
    allowNo: true,
  }),
  template: Flags.string({ description: 'custom domain XML template', helpValue: 'FILE' }),
  var: Flags.string({ description: 'variable for templates, used as {{vars.NAME}}', helpValue: 'NAME=VALUE', multiple: true }),
  seed: Flags.option({
    description:
      'how to identify guests: nocloud (a cloud-init seed), smbios (host name only), or none [default: that of the image, otherwise none]',
    options: ['none', 'nocloud', 'smbios'] as const,
  })(),
  firmware: Flags.option({
    description: 'firmware of the guests [default: that of the image, otherwise bios]',
    options: ['bios', 'uefi'] as const,
  })(),
  tpm: Flags.boolean({ description: 'add an emulated TPM 2.0 to each guest; a reset clears it', allowNo: true }),
  'disk-size': Flags.string({
    description: 'size of the first disk, larger than its base image; enlarges the disks of an existing fleet',
    helpValue: 'SIZE',
  }),
  disk: Flags.string({
    description: 'add a blank disk to each guest: SIZE, or SIZE,bus=virtio|scsi|sata,name=NAME; a reset clears it',
    helpValue: 'SIZE[,…]',
    multiple: true,
  }),
  overlay: Flags.string({
    description: `format of new disks: cluster-size=SIZE,extended-l2=on|off, or one of the two [default: ${formatOverlay(defaultOverlayFormat)}]`,
    helpValue: 'SETTING[,…]',
  }),
  'ssh-user': Flags.string({
    description: 'user name for ssh, cp and exec [default: that of the image, otherwise root]',
    helpValue: 'NAME',
  }),
  'forward-ssh': Flags.boolean({
    description: 'with user networking: forward a free port on 127.0.0.1 to port 22 of each member',
    allowNo: true,
  }),
};

/** Flags for the content of seeds. */
export const seedFlags = {
  'user-data': Flags.string({ description: 'template for the cloud-init user-data; implies --seed nocloud', helpValue: 'FILE' }),
  'user-data-raw': Flags.string({
    description: 'cloud-init user-data to use unchanged, for example with Docker or Jinja braces; implies --seed nocloud',
    helpValue: 'FILE',
    exclusive: ['user-data'],
  }),
  'meta-data': Flags.string({ description: 'template for the cloud-init meta-data', helpValue: 'FILE' }),
  'network-config': Flags.string({ description: 'template for the cloud-init network-config', helpValue: 'FILE' }),
  'ssh-key': Flags.string({
    description: "public key that may log in, in addition to the fleet's own",
    helpValue: 'FILE.pub',
    multiple: true,
  }),
  secret: Flags.string({
    description: 'secret value for seeds, used as {{secrets.NAME}} and never shown; @FILE reads it from a file',
    helpValue: 'NAME=VALUE|NAME=@FILE',
    multiple: true,
  }),
};

/** `NAME=VALUE` words → an object. @returns undefined if there are none, so that recorded variables stay */
export function parseVariables(words: readonly string[] | undefined, flag = '--var'): Record<string, string> | undefined {
  if (words === undefined || words.length === 0) return undefined;
  return Object.fromEntries(
    words.map((word) => {
      const match = /^([^=]+)=(.*)$/s.exec(word);
      if (match === null)
        throw new CowherdError('BAD_USAGE', flag === '--secret' ? 'A --secret has no name' : `${flag} ${word} has no value`, {
          hint: `Write ${flag} NAME=VALUE.`,
        });
      return [match[1] ?? '', match[2] ?? ''];
    }),
  );
}

function assertDiskNames(disks: readonly DiskSpec[] | undefined): void {
  const names = (disks ?? []).map(({ name }) => name);
  const twice = names.find((name, position) => names.indexOf(name) !== position);
  if (twice !== undefined)
    throw new CowherdError('BAD_USAGE', `Two disks have the same name: ${twice}`, { hint: 'Give each disk a different name.' });
}

/** `10GiB` or `10GiB,bus=scsi,name=data` → the form used in fleet files. @throws BAD_USAGE */
function parseDisk(word: string): z.input<typeof diskInputSchema> {
  const [size = '', ...settings] = word.split(',');
  const pairs = settings.map((setting) => /^(bus|name)=(.+)$/.exec(setting));
  if (pairs.includes(null)) {
    throw new CowherdError('BAD_USAGE', `Invalid --disk ${word}`, {
      hint: 'Write it as --disk 10GiB or --disk 10GiB,bus=scsi,name=data.',
    });
  }
  return { size, ...Object.fromEntries(pairs.map((pair) => [pair?.[1], pair?.[2]])) };
}

/** `cluster-size=128KiB,extended-l2=on` → the form used in fleet files. @throws BAD_USAGE */
function parseOverlay(word: string): NonNullable<z.input<typeof fleetSchema>['overlay']> {
  const given: NonNullable<z.input<typeof fleetSchema>['overlay']> = {};
  for (const setting of word.split(',')) {
    const [, name, size, state] = /^(cluster-size|extended-l2)=(?:(\d\w*)|(on|off))$/.exec(setting) ?? [];
    if (name === 'cluster-size' && size !== undefined) given.clusterSize = size;
    else if (name === 'extended-l2' && state !== undefined) given.extendedL2 = state === 'on';
    else
      throw new CowherdError('BAD_USAGE', `Invalid --overlay ${word}`, {
        hint: 'Write it as --overlay cluster-size=128KiB,extended-l2=on, or with one of the two.',
      });
  }
  return given;
}

/** Gives names to unnamed disks. */
function namedDisks(disks: FleetInput['disks']): DiskSpec[] | undefined {
  return disks?.map(({ name, size, bus }, position) => ({ name: name ?? `data${position + 1}`, bus, bytes: size * 1024 ** 2 }));
}

export interface SpecFlagValues {
  firmware?: DomainSpec['firmware'] | undefined;
  tpm?: boolean | undefined;
  disk?: string[] | undefined;
  'disk-size'?: string | undefined;
  overlay?: string | undefined;
  memory?: string | undefined;
  vcpus?: number | undefined;
  'virt-type'?: DomainSpec['virtType'] | undefined;
  cpu?: string | undefined;
  network?: string | undefined;
  'disk-cache'?: DomainSpec['diskCache'] | undefined;
  lean?: boolean | undefined;
  var?: string[] | undefined;
  seed?: DomainSpec['seed'] | undefined;
  'ssh-user'?: string | undefined;
  'forward-ssh'?: boolean | undefined;
}

/**
 * The flags as a spec, on top of a fleet file. Values that neither sets are undefined.
 * @throws BAD_USAGE
 */
export function specOf(flags: SpecFlagValues, input: Partial<FleetInput> = {}): GivenSpec {
  const given = parseFlagValues({
    memory: flags.memory,
    cpu: flags.cpu,
    network: flags.network,
    variables: parseVariables(flags.var),
    sshUser: flags['ssh-user'],
    rootSize: flags['disk-size'],
    disks: flags.disk?.map(parseDisk),
    overlay: flags.overlay === undefined ? undefined : parseOverlay(flags.overlay),
  });
  const disks = namedDisks(given.disks ?? input.disks);
  assertDiskNames(disks);
  const rootSize = given.rootSize ?? input.rootSize;
  return {
    memoryMiB: given.memory ?? input.memory,
    vcpus: flags.vcpus ?? input.vcpus,
    virtType: flags['virt-type'] ?? input.virtType,
    cpu: given.cpu ?? input.cpu,
    network: given.network ?? input.network,
    diskCache: flags['disk-cache'] ?? input.diskCache,
    lean: flags.lean ?? input.lean,
    variables: given.variables ?? input.variables,
    seed: flags.seed ?? input.seed,
    sshUser: given.sshUser ?? input.sshUser,
    forwardSsh: flags['forward-ssh'] ?? input.forwardSsh,
    firmware: flags.firmware ?? input.firmware,
    tpm: flags.tpm ?? input.tpm,
    rootBytes: rootSize === undefined ? undefined : rootSize * 1024 ** 2,
    disks,
    overlay: given.overlay ?? input.overlay,
  } as GivenSpec;
}
