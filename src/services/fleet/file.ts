import { dirname, isAbsolute, resolve } from 'node:path';
import { CowherdError } from '../../core/errors.js';
import { isBaseRef } from '../../core/image/base.js';
import { isUrl } from '../../core/image/content.js';
import { parseFleetFile } from '../../core/spec/fleet-file.js';
import { type FleetInput, sourceKinds } from '../../core/spec/spec.js';
import { readYaml } from '../../core/spec/yaml-document.js';
import type { Ports } from '../../ports/index.js';

/**
 * Reads a fleet file, YAML or JSON. Paths in it are relative to it.
 * @throws FILE_NOT_FOUND, BAD_USAGE if it is not a text file or too large, BAD_SPEC
 */
export async function readFleetFile(ports: Pick<Ports, 'readFile'>, path: string): Promise<FleetInput[]> {
  const text = await ports.readFile(path);
  const yaml = readYaml(text);
  if (yaml.problem !== undefined) {
    const { at, reason } = yaml.problem;
    throw new CowherdError('BAD_SPEC', `${path}${at === undefined ? '' : `:${at.line}:${at.column}`}: invalid YAML: ${reason}`, {
      hint: 'Check the indentation and the quotes at that place, and use fewer aliases.',
    });
  }
  const from = dirname(resolve(path));
  return parseFleetFile(yaml.value, path, yaml.locate).map((fleet) => ({
    ...fleet,
    ...(fleet.base === undefined ? {} : { base: resolveImage(from, fleet.base) }),
    ...(fleet.image === undefined ? {} : { image: resolveRecipe(from, fleet.image) }),
    ...Object.fromEntries(
      [...sourceKinds, 'nvram' as const].flatMap((kind) => {
        const file = fleet[kind];
        return file === undefined ? [] : [[kind, resolvePath(from, file)]];
      }),
    ),
  }));
}

function resolveRecipe(from: string, image: NonNullable<FleetInput['image']>): FleetInput['image'] {
  const { script, userData } = image;
  return {
    ...image,
    from: resolveImage(from, image.from),
    ...(script === undefined ? {} : { script: resolvePath(from, script) }),
    ...(userData === undefined ? {} : { userData: resolvePath(from, userData) }),
  };
}

/** A name or a URL stays. */
function resolveImage(from: string, image: string): string {
  return isBaseRef(image) || isUrl(image) ? image : resolvePath(from, image);
}

function resolvePath(from: string, path: string): string {
  return isAbsolute(path) ? path : resolve(from, path);
}
