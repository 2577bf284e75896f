import { CowherdError } from '../../../../core/errors.js';
import type { FleetRecord } from '../../../../core/fleet/record.js';
import { type BaseImage, formatBaseRef, isBaseRef } from '../../../../core/image/base.js';
import { isUrl } from '../../../../core/image/content.js';
import type { Ports } from '../../../../ports/index.js';
import { hygieneWarningsOf } from '../../../base/bases.js';
import { assertSeals, verifiedBase } from '../../access.js';
import { findOrPull, pullFromCatalog } from './find-or-pull.js';
import type { SpawnOptions } from './options.js';

export async function resolveBase(
  ports: Ports,
  options: SpawnOptions & { baseName?: string },
  recorded: FleetRecord | undefined,
): Promise<{ base: BaseImage; notes: string[] }> {
  const asked = options.base;
  if (asked === undefined) {
    if (recorded === undefined)
      throw new CowherdError('BAD_USAGE', `No base image given for fleet ${options.fleet}`, { hint: 'Add --base FILE or --base NAME.' });
    return { base: await verifiedBase(ports, recorded.base), notes: [] };
  }
  const { base, notes, isDigestKnown } =
    isBaseRef(asked) || (options.pull === true && isUrl(asked))
      ? { ...(await findOrPull(ports, asked, options)), isDigestKnown: true }
      : await importBase(ports, asked, options).catch((error: unknown) => byAlias(ports, asked, options, error));
  if (recorded !== undefined && isDigestKnown && recorded.base.digest !== base.digest) {
    throw new CowherdError(
      'BAD_USAGE',
      `Fleet ${recorded.name} is based on ${formatBaseRef(recorded.base)}, but ${asked} is ${formatBaseRef(base)}`,
      {
        hint: `Omit --base to keep the fleet's base image. To move its members: cowherd rebase ${recorded.name} --base ${asked}`,
      },
    );
  }
  // The same content under another name: keep the fleet's name, which its domains and its record use.
  if (recorded !== undefined) return { base: await verifiedBase(ports, recorded.base), notes };
  await assertSeals(ports, base);
  return { base, notes };
}

/** An alias of the catalog may have a dot, as a file has. @throws the error of the import if it is no alias */
async function byAlias(
  ports: Ports,
  asked: string,
  options: SpawnOptions,
  error: unknown,
): Promise<{ base: BaseImage; notes: string[]; isDigestKnown: boolean }> {
  if (!(error instanceof CowherdError) || error.code !== 'FILE_NOT_FOUND' || !/^[a-z0-9.-]+$/.test(asked)) throw error;
  return { ...(await pullFromCatalog(ports, asked, options, error)), isDigestKnown: true };
}

export async function importBase(
  ports: Ports,
  path: string,
  {
    format,
    trustChain,
    signal,
    onProgress,
    dryRun,
    baseName,
    isOfClones = false,
  }: SpawnOptions & {
    baseName?: string;
    /** Clones get their own identity: skip the warnings about shared state in the image. It is the disk of a VM that was just frozen. */
    isOfClones?: boolean;
  },
): Promise<{ base: BaseImage; notes: string[]; isDigestKnown: boolean }> {
  const { base, how, warning, ...more } = await ports.bases.locked(
    () =>
      ports.bases.import({
        path,
        format,
        name: baseName,
        trustChain: trustChain === true,
        isFromQemu: isOfClones,
        signal,
        onProgress: (progress) =>
          onProgress?.({ kind: 'bytes', what: `${dryRun === true ? 'reading' : 'importing'} ${path}`, ...progress }),
      }),
    { signal, onProgress },
  );
  const isDigestKnown = !('isDigestKnown' in more) || more.isDigestKnown === true;
  const ref = isDigestKnown ? formatBaseRef(base) : base.name;
  const imported = dryRun === true ? `base ${ref} would be imported` : `base ${ref} imported (${how})`;
  const note = how === 'already there' ? `base ${ref} was already in the store` : imported;
  // Only at the import; "cowherd base inspect" repeats it. A dry run inspects the source file.
  const read = dryRun === true && how !== 'already there' ? { ...base, path: base.source.path } : base;
  const generalisation = how === 'already there' || isOfClones ? [] : await hygieneWarningsOf(ports, read);
  const told = generalisation.map(({ what, hint }) => `${ref}: ${what}. ${hint}`);
  return { base, notes: [note, ...(warning === undefined ? [] : [warning]), ...told], isDigestKnown };
}
