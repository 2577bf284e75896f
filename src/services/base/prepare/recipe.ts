import { CowherdError } from '../../../core/errors.js';
import { commandSteps, type ScriptStep, scriptStep } from '../../../core/guest/script.js';
import type { BaseImage } from '../../../core/image/base.js';
import { recipeDigest } from '../../../core/image/recipe.js';
import type { Ports } from '../../../ports/index.js';
import type { ImageRecipe } from './options.js';

/** A recipe with the texts of its files. */
export interface LoadedRecipe {
  /** The commands and the script, in order. */
  steps: readonly ScriptStep[];
  /** sha256 of the recipe on a base image. */
  digestOn(base: Pick<BaseImage, 'digest'>): string;
}

/** @throws BAD_USAGE, FILE_NOT_FOUND */
export async function loadRecipe(ports: Pick<Ports, 'readFile'>, recipe: ImageRecipe): Promise<LoadedRecipe> {
  const { run = [], script: path, generalize = false, spec = {}, userData } = recipe;
  if (run.length > 0 && path !== undefined) {
    throw new CowherdError('BAD_USAGE', 'Commands and a script cannot be used together', { hint: 'Call the commands in the script.' });
  }
  if (run.length === 0 && path === undefined && !generalize) {
    throw new CowherdError('BAD_USAGE', 'There is nothing to prepare', {
      hint: 'Add commands (--run CMD), a script (--script FILE) or --generalize.',
    });
  }
  const script = path === undefined ? undefined : await ports.readFile(path);
  const steps = [...commandSteps(run), ...(path === undefined || script === undefined ? [] : [scriptStep(path, script)])];
  const texts = { script, userData: userData === undefined ? undefined : await ports.readFile(userData) };
  const { seed, sshKeys, rootBytes } = spec;
  return { steps, digestOn: ({ digest }) => recipeDigest({ base: digest, run, generalize, seed, sshKeys, rootBytes, ...texts }) };
}

/** The images of the store that were prepared with a recipe, the newest first. */
export async function imagesOf(ports: Pick<Ports, 'bases'>, recipe: string): Promise<BaseImage[]> {
  const { bases } = await ports.bases.list();
  return bases.filter(({ prepared }) => prepared?.recipe === recipe).sort((a, b) => b.importedAt.localeCompare(a.importedAt));
}
