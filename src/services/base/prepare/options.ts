import type { GuestText } from '../../../core/guest/text.js';
import type { GivenSpec } from '../../../core/spec/spec.js';
import type { WorkOptions } from '../../fleet/access.js';
import type { SpawnOptions } from '../../fleet/spawn/input/options.js';
import type { Promotion } from '../promote.js';

/** What becomes an image: the part that a fleet file can contain. */
export interface ImageRecipe {
  /** A file, or the name of a base image in the store. */
  from: string;
  /** Commands for the guest's shell, in order. */
  run?: readonly string[] | undefined;
  /** Path of a script, in place of commands. */
  script?: string | undefined;
  /** Remove what members must not share, after the commands. */
  generalize?: boolean | undefined;
  /** Settings of the VM; default: those of the image it boots from, then those of a new fleet. */
  spec?: Pick<GivenSpec, 'memoryMiB' | 'vcpus' | 'network' | 'seed' | 'sshKeys' | 'sshUser' | 'firmware' | 'rootBytes'> | undefined;
  /** Path of a template of the user-data. */
  userData?: string | undefined;
  /** Stages to reach before the commands run, as in --wait; default: those of the image, otherwise the agent. */
  wait?: string | undefined;
  /** Time limit until the VM is ready and all commands have ended. */
  timeoutMs?: number | undefined;
}

export interface PrepareOptions extends ImageRecipe, WorkOptions {
  /** Name of the new base image. */
  as: string;
  /** Keep the VM if the preparation fails. */
  keep?: boolean | undefined;
  /** Defaults for the network and the template of the VM. */
  defaults?: Pick<NonNullable<SpawnOptions['defaults']>, 'network' | 'template'> | undefined;
  dryRun?: boolean | undefined;
  /** Called with output of the commands: by ssh as it arrives, by an agent when the command has exited. */
  onOutput?: ((name: string, stream: 'stdout' | 'stderr', text: GuestText) => void) | undefined;
  /** Called when a command has ended. */
  onStep?: ((name: string) => void) | undefined;
}

export interface Preparation extends Promotion {
  /** sha256 of the recipe. */
  recipe: string;
  generalized: boolean;
}

export const defaultPrepareMs = 30 * 60_000;
