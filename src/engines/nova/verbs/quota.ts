import type { Plan } from '../../../core/fleet/plan/member-plan.js';
import { formatBaseRef } from '../../../core/image/base.js';
import type { Check } from '../../../services/preflight/checks.js';
import type { CallOptions } from '../api/server-actions.js';
import type { NovaContext } from '../context.js';
import type { Quota } from '../core/compute.js';
import type { NovaMember } from '../core/members.js';
import type { ChosenImage } from './choose-image.js';
import type { ComposedPlacement } from './placement.js';
import type { NovaRecord } from './record.js';

/** Whether servers of the flavor have room for the image: otherwise each one is refused, or fails on its host. */
export function checkFlavor(
  { settings, diskGiB, memoryMiB }: ComposedPlacement,
  { base, needs }: Pick<ChosenImage, 'base' | 'needs'>,
  plan: Plan,
): Check[] {
  if (!plan.members.some(({ steps }) => steps.includes('create'))) return [];
  const sizes: Array<[what: string, has: number, needed: number]> = [
    ['GiB of disk', diskGiB === 0 ? Number.POSITIVE_INFINITY : diskGiB, needs.diskGiB],
    ['MiB of memory', memoryMiB, needs.ramMiB],
  ];
  return sizes
    .filter(([, has, needed]) => has < needed)
    .map(([what, has, needed]) => ({
      ...{ name: 'flavor', status: 'failed' },
      message: `image ${formatBaseRef(base)} needs ${needed} ${what}, but flavor ${settings.flavor} has ${has}`,
      hint: 'Choose a larger one with --flavor: "openstack flavor list" shows them.',
    }));
}

/** Whether the project may have further servers for the members without one. Those that are still being created are in use already. */
export async function checkQuota(
  { cloud }: NovaContext,
  { spec }: NovaRecord,
  members: readonly NovaMember[],
  options: CallOptions,
): Promise<Check[]> {
  const count = members.filter(({ server }) => server === undefined).length;
  if (count === 0) return [];
  const limits = await cloud.checks.limits(options);
  const checks: Array<[what: string, quota: Quota, needed: number]> = [
    ['servers', limits.servers, count],
    ['cores', limits.cores, count * spec.vcpus],
    ['MiB of memory', limits.ramMiB, count * spec.memoryMiB],
  ];
  return checks.map(([what, { used, limit }, needed]): Check => {
    const message = `${needed} more ${what} needed, ${used} of ${limit ?? 'unlimited'} in use`;
    if (limit === undefined || used + needed <= limit) return { name: 'quota', status: 'ok', message };
    return {
      name: 'quota',
      status: 'failed',
      message: `the project's quota does not suffice: ${message}`,
      hint: `Use a smaller --count (${Math.max(0, Math.floor(((limit - used) / needed) * count))} more fit), or ask for a larger quota.`,
    };
  });
}
