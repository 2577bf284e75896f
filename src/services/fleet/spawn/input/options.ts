import type { FleetRecord } from '../../../../core/fleet/record.js';
import type { FleetSecrets } from '../../../../core/guest/seed.js';
import type { WaitFor, WaitRequest } from '../../../../core/guest/stages.js';
import type { AcceleratorChoice } from '../../../../core/host/cpu.js';
import type { FleetInput, GivenSpec, Placement } from '../../../../core/spec/spec.js';
import type { SeedFiles } from '../../../guest/seeds.js';
import type { WorkOptions } from '../../access.js';

export interface SpawnOptions extends WorkOptions {
  fleet: string;
  /** A file, or the name of a base image in the store. Optional for an existing fleet. */
  base?: string | undefined;
  /** Download the base image if the store does not have it: a name of the catalog, or a URL. False: the hint may suggest --pull. */
  pull?: boolean | undefined;
  /** A further catalog for that: a path or URL. */
  catalog?: string | undefined;
  /** Name of a domain that is shut off: its XML becomes the template, its disks the base images. */
  fromDomain?: string | undefined;
  /** Name or UUID of a running domain: it is frozen while its disk is read, and members resume from its memory. */
  fromRunning?: string | undefined;
  /** Leave that domain stopped with its memory saved by libvirt. */
  keepFrozen?: boolean | undefined;
  /** Whether clones may start with a copy of that domain's TPM state; otherwise a domain with a TPM is refused. */
  shareTpm?: boolean | undefined;
  format?: 'qcow2' | 'raw' | undefined;
  trustChain?: boolean | undefined;
  /** Optional for an existing fleet. */
  count?: number | undefined;
  /** Omitted values stay as recorded; a new fleet gets the defaults. */
  spec?: GivenSpec | undefined;
  /** Defaults for `spec` and `template` of a new fleet that is not created from a domain. */
  defaults?: Pick<GivenSpec, 'network' | 'seed' | 'sshKeys'> & { template?: string | undefined };
  /** Path of a domain template. */
  template?: string | undefined;
  /** Path of the initial NVRAM of members with UEFI. */
  nvram?: string | undefined;
  /** Paths of seed templates. */
  seedFiles?: SeedFiles | undefined;
  /** Values for the seed templates; never part of records and listings. */
  secrets?: FleetSecrets['values'] | undefined;
  /** Whether to start stopped members; default true. */
  start?: boolean | undefined;
  wait?: WaitRequest | undefined;
  /** Time limit for all members together. */
  timeoutMs?: number | undefined;
  dryRun?: boolean | undefined;
  force?: boolean | undefined;
  /** Boot one VM, and create all members as clones of it. */
  bootOnce?: boolean | undefined;
  /** Where an engine places the members, in its own terms; it checks them. */
  placement?: Placement | undefined;
  /** For the VM that `--boot-once` boots: the fleet of its clones. */
  bootsFor?: string | undefined;
  /** For the VM of `base prepare`: the base image that it becomes. */
  prepares?: FleetRecord['prepares'];
  /** In place of `base`: how to prepare the base image. Only for engines, see services/base/prepare/for-spawn.ts. */
  image?: FleetInput['image'];
  /** Only redefine the members with another accelerator, and start the given ones. */
  redefine?: { accelerator?: AcceleratorChoice | undefined; starting: readonly number[] } | undefined;
}

/** With the stages to wait for. */
export type ReadySpawnOptions = Omit<SpawnOptions, 'wait'> & { wait?: WaitFor | undefined };
