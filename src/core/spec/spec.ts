import { z } from 'zod';
import { cpuSchema } from '../host/cpu.js';
import { defaultOverlayFormat } from '../image/overlay-format.js';
import { formatRange, limits, maxLength } from '../limits.js';
import { namePattern, nameRule } from '../names.js';
import {
  concurrency,
  diskSize,
  file,
  integerWithin,
  memory,
  name,
  network,
  overlay,
  overlayFormat,
  seed,
  sshKeys,
  sshUser,
  variables,
} from './field-schemas.js';
import { imageSchema } from './image-schema.js';

/** A reference of a fleet, a domain or an operation to a base image. */
export const baseRefSchema = z.strictObject({ name: z.string().regex(namePattern), digest: z.string().regex(/^[0-9a-f]{64}$/) });
export type BaseRef = z.infer<typeof baseRefSchema>;
const diskBuses = ['virtio', 'scsi', 'sata'] as const;

/** An additional disk of each member: blank, or an overlay on a base image. */
export const diskSpecSchema = z.strictObject({
  /** Part of its file name, and its serial number in the guest. */
  name: z
    .string()
    .regex(
      new RegExp(`^[a-z0-9][a-z0-9-]{0,${maxLength.diskName - 1}}$`),
      `is not a disk name: lower-case letters, digits and hyphens, at most ${maxLength.diskName}`,
    )
    .refine((word) => word !== 'root', 'is the name of the first disk'),
  bus: z.enum(diskBuses),
  /** Size of a blank disk in bytes. */
  bytes: z
    .number()
    .int()
    .positive()
    .max(limits.diskMiB.max * 1024 ** 2)
    .optional(),
  base: baseRefSchema.optional(),
});
export type DiskSpec = z.infer<typeof diskSpecSchema>;

/** The part of the spec that defines domains. Stored in the fleet's record and in every domain's metadata. */
export const domainSpecSchema = z.strictObject({
  memoryMiB: integerWithin(limits.memoryMiB),
  vcpus: integerWithin(limits.vcpus),
  virtType: z.enum(['auto', 'kvm', 'qemu']),
  /** Absent for the accelerator's default. */
  cpu: cpuSchema.optional(),
  network,
  diskCache: z.enum(['writeback', 'unsafe', 'none', 'writethrough', 'directsync']),
  lean: z.boolean(),
  variables,
  /** sha256 of the fleet's own template; absent for the built-in one. */
  template: z.string().optional(),
  seed: seed.default('none'),
  /** sha256 of the fleet's own seed templates; absent for the built-in ones. */
  userData: z.string().optional(),
  /** In place of userData: a file that is used unchanged. */
  userDataRaw: z.string().optional(),
  metaData: z.string().optional(),
  networkConfig: z.string().optional(),
  sshUser: sshUser.default('root'),
  sshKeys: sshKeys.default([]),
  /** With user networking: forwards a port of this host's loopback to each member's port 22. */
  forwardSsh: z.boolean().default(false),
  firmware: z.enum(['bios', 'uefi']).default('bios'),
  tpm: z.boolean().default(false),
  /** Virtual size of the first disk; absent for the size of its base image. A larger base image takes precedence. */
  rootBytes: z
    .number()
    .int()
    .positive()
    .max(limits.diskMiB.max * 1024 ** 2)
    .optional(),
  /** In addition to the first one. */
  disks: z.array(diskSpecSchema).max(limits.disks.max).default([]),
  /** sha256 of the initial NVRAM of UEFI members; absent for the firmware's template. */
  nvram: z.string().optional(),
  /** sha256 of the memory that members resume from, stored beside the base image; absent if they boot. */
  warm: z.string().optional(),
  /** Network interfaces of the template, and so MAC addresses of a member. */
  nics: integerWithin(limits.nics).default(1),
  /** Of new disks; absent in older fleets, see formerOverlayFormat. The last field: the members' definitions contain them in order. */
  overlay: overlayFormat.optional(),
});
export type DomainSpec = z.infer<typeof domainSpecSchema>;

/** Files of a fleet that are stored by the digest of their content. */
export const sourceKinds = ['template', 'userData', 'userDataRaw', 'metaData', 'networkConfig'] as const;
export type SourceKind = (typeof sourceKinds)[number];

/** Settings given as values; the files of {@link sourceKinds} are given as paths. */
export type GivenSpec = Partial<Omit<DomainSpec, SourceKind | 'nvram' | 'warm'>>;

export const defaultDomainSpec: DomainSpec = {
  memoryMiB: 512,
  vcpus: 1,
  virtType: 'auto',
  network: 'user',
  diskCache: 'writeback',
  lean: true,
  variables: {},
  seed: 'none',
  sshUser: 'root',
  sshKeys: [],
  forwardSsh: false,
  firmware: 'bios',
  tpm: false,
  disks: [],
  nics: 1,
  overlay: defaultOverlayFormat,
};
/** A blank disk as written in a fleet file. */
export const diskInputSchema = z.strictObject({
  name: diskSpecSchema.shape.name.optional().describe('Its name and serial number in the guest (default data1, data2, …).'),
  size: diskSize,
  bus: z.enum(diskBuses).default('virtio').describe('How the guest sees it (default virtio).'),
});

/** Where a platform other than this host places the members, in its own terms: the engine checks them. */
export const placementSchema = z.record(
  z.string().regex(/^[a-z][A-Za-z]{0,30}$/, 'is not the name of a setting'),
  z.union([
    z.string().min(1).max(maxLength.placement),
    z.array(z.string().min(1).max(maxLength.placement)).min(1).max(limits.placementValues.max),
  ]),
);
export type Placement = z.infer<typeof placementSchema>;

/** One fleet as written in a fleet file. */
export const fleetSchema = z.strictObject({
  name: name.describe(`Name of the fleet: ${nameRule}.`),
  connect: z
    .string()
    .min(1)
    .max(maxLength.path)
    .optional()
    .describe('Where the fleet runs: a libvirt URI, or openstack://CLOUD (default: this host). The same for all fleets of a file.'),
  placement: placementSchema.optional().describe('Settings of a platform other than this host: see docs/engines.md.'),
  base: file.optional().describe('The base image: a file (relative to this file), or the name of one in the store.'),
  fromDomain: z
    .string()
    .min(1)
    .max(maxLength.domain)
    .optional()
    .describe('In place of base: a domain that is shut off. Its XML becomes the template, its disks the base images.'),
  image: imageSchema.optional(),
  format: z.enum(['qcow2', 'raw']).optional().describe('Format of the base image file; detected from its first bytes by default.'),
  trustChain: z.boolean().optional().describe('Accept a base image that has a backing file, and flatten it on import.'),
  count: integerWithin(limits.members).describe(`Number of members: ${formatRange(limits.members)}.`),
  memory: memory.optional(),
  vcpus: integerWithin(limits.vcpus).optional().describe('Virtual CPUs of each member (default 1).'),
  virtType: z.enum(['auto', 'kvm', 'qemu']).optional().describe('auto (default) runs probe guests to see whether KVM works.'),
  cpu: cpuSchema
    .optional()
    .describe(
      'CPU of the guests: host-model (the default under KVM), host-passthrough (for nested virtualization), max, x86-64-v2, or the name of a libvirt model.',
    ),
  network: network.optional(),
  diskCache: domainSpecSchema.shape.diskCache
    .optional()
    .describe("QEMU's cache mode of the overlays (default writeback; unsafe is faster, but loses more data if the host crashes)."),
  overlay: overlay.optional(),
  lean: z.boolean().optional().describe('Omit devices that slow startup: USB, the option ROM, the CPU feature query (default true).'),
  template: file.optional().describe('Your own domain XML template (relative to this file); see "cowherd template eject".'),
  variables: variables.optional().describe('Additional variables for the templates, as {{vars.NAME}}.'),
  seed: seed
    .optional()
    .describe(
      'How a guest gets its identity: nocloud (a cloud-init seed per member), smbios (its host name only) or none (default: that of the image, otherwise none).',
    ),
  userData: file.optional().describe('A Handlebars template of the cloud-init user-data (relative to this file); implies seed nocloud.'),
  userDataRaw: file
    .optional()
    .describe(
      'In place of userData: the cloud-init user-data, used unchanged, braces included (relative to this file); implies seed nocloud.',
    ),
  metaData: file.optional().describe('A template of the meta-data; it must keep instance-id and local-hostname.'),
  networkConfig: file.optional().describe('A template of the network-config (default: none).'),
  secrets: variables
    .optional()
    .describe('Values for the seed templates, as {{secrets.NAME}}, such as passwords. They appear in no listing, state file or domain.'),
  sshUser: sshUser.optional().describe('User that ssh, cp and exec log in as (default: that of the image, otherwise root).'),
  sshKeys: sshKeys.optional(),
  forwardSsh: z
    .boolean()
    .optional()
    .describe('With network user: forward a free port of 127.0.0.1 to port 22 of each member (default false).'),
  firmware: domainSpecSchema.shape.firmware
    .removeDefault()
    .optional()
    .describe('bios or uefi (default: that of the image, otherwise bios): OVMF as libvirt finds it, with one NVRAM per member.'),
  nvram: file
    .optional()
    .describe('The NVRAM of the golden image, if it was installed under UEFI (relative to this file); each member starts with a copy.'),
  tpm: z.boolean().optional().describe('Give each member its own emulated TPM 2.0; a reset clears it (default false).'),
  rootSize: diskSize
    .optional()
    .describe('Size of the first disk, if larger than its base image: "20GiB". It can grow later, but never shrink.'),
  disks: z
    .array(diskInputSchema)
    .max(limits.disks.max)
    .optional()
    .describe('Blank disks of each member, in addition to the first one; a reset blanks them.'),
  concurrency: concurrency.optional().describe('How many members to process at once (default 16).'),
  bootConcurrency: concurrency.optional().describe('How many domains to start at once (default 8).'),
});
export type FleetInput = z.output<typeof fleetSchema>;

/** A fleet file: one fleet, or a lab of several. */
export const fleetFileSchema = z.union([
  z
    .strictObject({ fleets: z.array(fleetSchema).min(limits.fleetsInFile.min).max(limits.fleetsInFile.max) })
    .describe('A lab: several fleets, each with its own role.'),
  fleetSchema,
]);
