import type { FleetSecrets } from '../../../core/guest/seed.js';
import type { WaitFor } from '../../../core/guest/stages.js';
import type { AcceleratorChoice } from '../../../core/host/cpu.js';
import type { GivenSpec } from '../../../core/spec/spec.js';
import type { SeedFiles } from '../../guest/seeds.js';
import type { WorkOptions } from '../access.js';

export interface SpawnOptions extends WorkOptions {
  fleet: string;
  /** A file, or the name of a base image in the store. May be left out for a fleet that exists. */
  base?: string | undefined;
  /** Name of a domain that is shut off: its XML becomes the template, and its disks the base images. */
  fromDomain?: string | undefined;
  /** Name or UUID of a domain that runs: it is frozen while its disk is read, and members go on from its memory. */
  fromRunning?: string | undefined;
  /** Leave that domain off, with its memory kept by libvirt. */
  keepFrozen?: boolean | undefined;
  format?: 'qcow2' | 'raw' | undefined;
  trustChain?: boolean | undefined;
  /** May be left out for a fleet that exists. */
  count?: number | undefined;
  /** What is left out stays as recorded, or is the default for a new fleet. */
  spec?: GivenSpec | undefined;
  /** For a fleet that is new, and is not made of a domain: what stands where `spec` and `template` say nothing. */
  defaults?: Pick<GivenSpec, 'network' | 'seed' | 'sshKeys'> & { template?: string | undefined };
  /** Path of a domain template. */
  template?: string | undefined;
  /** Path of the NVRAM that members of UEFI begin with. */
  nvram?: string | undefined;
  /** Paths of seed templates. */
  seedFiles?: SeedFiles | undefined;
  /** Values for the seed templates that are kept out of every record and listing. */
  secrets?: FleetSecrets['values'] | undefined;
  /** Whether what is off is started; true when left out. */
  start?: boolean | undefined;
  wait?: WaitFor | undefined;
  /** How long to wait, for all members together. */
  timeoutMs?: number | undefined;
  dryRun?: boolean | undefined;
  force?: boolean | undefined;
  /** Only define members of a fleet anew, on another accelerator, and start those of some numbers. */
  redefine?: { accelerator?: AcceleratorChoice | undefined; starting: readonly number[] } | undefined;
}
