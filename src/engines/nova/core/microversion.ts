import { z } from 'zod';
import { CowherdError } from '../../../core/errors.js';

/** Tags when a server is created need 2.52. Replies up to 2.90 are known; a later version may change them. */
export const oldestMicroversion = '2.52';
export const latestMicroversion = '2.90';

const versionSchema = z.object({ id: z.string(), version: z.string().optional(), min_version: z.string().optional() });

/** What the cloud offers, empty if it has no microversions. */
const offer = (versions: ReadonlyArray<z.output<typeof versionSchema>>): { min: string; max: string } => {
  const chosen = versions.find(({ id }) => id === 'v2.1') ?? versions[0];
  return { min: chosen?.min_version ?? '', max: chosen?.version ?? '' };
};

/** The document of one version, or of all versions if the endpoint has none in its path. */
export const versionDocumentSchema = z.union([
  z.object({ version: versionSchema }).transform(({ version }) => offer([version])),
  z.object({ versions: z.array(versionSchema) }).transform(({ versions }) => offer(versions)),
]);

/**
 * The Compute microversion to use: the latest that both sides know.
 * @param offered minimum and maximum of the cloud, such as 2.1 and 2.93; empty if it has none
 * @throws NOT_SUPPORTED
 */
export function negotiateMicroversion(offered: { min: string; max: string }): string {
  const [min, max] = [numberOf(offered.min), numberOf(offered.max)];
  if (max === undefined || max < wanted(oldestMicroversion)) {
    const has = max === undefined ? 'offers no microversions' : `offers Compute microversions up to ${offered.max}`;
    throw new CowherdError('NOT_SUPPORTED', `The cloud ${has}, but ${oldestMicroversion} is needed`, {
      hint: 'Use a cloud with OpenStack Rocky (2018) or later. If compute_endpoint_override is set, check that it ends with /v2.1.',
    });
  }
  if (min !== undefined && min > wanted(latestMicroversion)) {
    throw new CowherdError(
      'NOT_SUPPORTED',
      `The cloud requires Compute microversion ${offered.min}, but only ${latestMicroversion} is known`,
      {
        hint: 'Use a later version of cowherd, or another cloud.',
      },
    );
  }
  return max < wanted(latestMicroversion) ? offered.max : latestMicroversion;
}

/** Whether a microversion is at least another one. */
export function isAtLeast(version: string, other: string): boolean {
  return wanted(version) >= wanted(other);
}

function wanted(version: string): number {
  return numberOf(version) ?? Number.NaN;
}

/** 2.9 is earlier than 2.10. */
function numberOf(version: string): number | undefined {
  const match = /^(\d{1,4})\.(\d{1,5})$/.exec(version);
  return match === null ? undefined : Number(match[1]) * 100_000 + Number(match[2]);
}
