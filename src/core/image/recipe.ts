import { createHash } from 'node:crypto';
import { CowherdError } from '../errors.js';
import { maxLength } from '../limits.js';
import { assertName } from '../names.js';
import { shellWord } from '../quoting.js';

/** How a base image is prepared from another one: what determines its content, and nothing else. */
export interface Recipe {
  /** sha256 of the base image that the VM boots from. */
  base: string;
  /** Commands for the guest's shell, in order. */
  run: readonly string[];
  /** The text of a script, which runs after them. */
  script?: string | undefined;
  generalize: boolean;
  /** Kind of seed, if it was given. */
  seed?: string | undefined;
  /** The text of the template of the user-data. */
  userData?: string | undefined;
  sshKeys?: readonly string[] | undefined;
  /** Size of the disk in bytes, if it was given. */
  rootBytes?: number | undefined;
}

/** sha256 that is the same for equal recipes. Memory, CPUs and the network of the VM are not part of it. */
export function recipeDigest({ base, run, script, generalize, seed, userData, sshKeys, rootBytes }: Recipe): string {
  const absent = null;
  // An array, since its order is certain. A new kind of value needs a new version.
  const values = [
    'cowherd recipe 1',
    base,
    [...run],
    script ?? absent,
    generalize,
    seed ?? absent,
    userData ?? absent,
    [...(sshKeys ?? [])],
    rootBytes ?? absent,
  ];
  return createHash('sha256').update(JSON.stringify(values)).digest('hex');
}

const fleetEnding = '-prepare';
/** Of an image that is prepared, in characters. */
export const longestPreparedName = maxLength.name - fleetEnding.length;

/**
 * The fleet of the VM that becomes the base image with this name.
 * @throws BAD_USAGE if the name is invalid, or too long for the VM
 */
export function preparingFleet(image: string): string {
  assertName('base', image);
  if (image.length > longestPreparedName) {
    throw new CowherdError('BAD_USAGE', `The name ${image} is too long for a base image that is prepared`, {
      hint: `Use at most ${longestPreparedName} characters: the VM gets the same name with ${fleetEnding} at its end.`,
    });
  }
  return `${image}${fleetEnding}`;
}

/** A name for the image of a recipe: the name of the base image and the beginning of the digest. */
export function recipeName(baseName: string, digest: string): string {
  const end = `-${digest.slice(0, 8)}`;
  return `${baseName.slice(0, longestPreparedName - end.length).replace(/-+$/, '')}${end}`;
}

/** Settings of `base prepare` as its words on the command line. Undefined and false values are left out. */
export type PrepareWords = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;

/** @param flags by their names without hyphens @returns a command for a shell */
export function prepareCommand(from: string, flags: PrepareWords): string {
  const words = Object.entries(flags).flatMap(([name, value]) => {
    if (value === undefined || value === false) return [];
    if (value === true) return [`--${name}`];
    return (typeof value === 'object' ? value : [value]).flatMap((one) => [`--${name}`, shellWord(String(one))]);
  });
  return ['cowherd base prepare', shellWord(from), ...words].join(' ');
}
