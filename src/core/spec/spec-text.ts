import { type DomainSpec, domainSpecSchema, sourceKinds } from './spec.js';

const keys = [
  ...Object.keys(domainSpecSchema.shape).filter((key) => !(sourceKinds as readonly string[]).includes(key)),
  ...sourceKinds,
] as (keyof DomainSpec)[];

/** The keys are always in one order: a spec that was read must not look different from the one that was composed. */
export function formatSpec(spec: DomainSpec): string {
  return JSON.stringify(Object.fromEntries(keys.map((key) => [key, spec[key]])));
}
