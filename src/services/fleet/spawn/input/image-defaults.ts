import type { BaseImage } from '../../../../core/image/base.js';
import { formatDefaults } from '../../../../core/image/image-defaults.js';
import { type DomainSpec, defaultDomainSpec } from '../../../../core/spec/spec.js';
import type { SpawnOptions } from './options.js';

/** The settings that an image has defaults for. */
type ImageSpec = Partial<Pick<DomainSpec, 'firmware' | 'seed' | 'sshUser' | 'memoryMiB'>>;

/**
 * Settings of a new fleet that its base image determines, unless they are given. The XML of a domain has them for fleets that are created
 * from it.
 */
export function imageSpec({ fromDomain, fromRunning, bootsFor }: SpawnOptions, { defaults = {} }: Pick<BaseImage, 'defaults'>): ImageSpec {
  if (fromDomain !== undefined || fromRunning !== undefined) return {};
  const { firmware, seed, sshUser, memoryMiB } = defaults;
  // The clones of a VM share its seed, so that of one member cannot be a file.
  const ofVm = bootsFor !== undefined && seed === 'nocloud' ? 'smbios' : seed;
  return {
    ...(firmware === undefined ? {} : { firmware }),
    ...(ofVm === undefined ? {} : { seed: ofVm }),
    ...(sshUser === undefined ? {} : { sshUser }),
    ...(memoryMiB === undefined ? {} : { memoryMiB: Math.max(memoryMiB, defaultDomainSpec.memoryMiB) }),
  };
}

/** Which settings of a new fleet are from its base image, and whether it has less memory than the image needs. */
export function imageNotes(options: SpawnOptions, base: Pick<BaseImage, 'defaults'>, spec: DomainSpec): string[] {
  const ofImage = imageSpec(options, base);
  const given: Partial<DomainSpec> = { ...options.defaults, ...options.spec };
  const isApplied = (key: keyof ImageSpec): boolean =>
    given[key] === undefined && ofImage[key] === spec[key] && ofImage[key] !== defaultDomainSpec[key];
  const applied = (Object.keys(ofImage) as Array<keyof ImageSpec>).filter(isApplied);
  const text = formatDefaults(Object.fromEntries(applied.map((key) => [key, ofImage[key]])));
  const least = Object.keys(ofImage).length === 0 ? undefined : base.defaults?.memoryMiB;
  return [
    ...(text === '' ? [] : [`from the image: ${text}`]),
    ...(least === undefined || spec.memoryMiB >= least
      ? []
      : [`the image needs ${least} MiB of memory, but the members have ${spec.memoryMiB} MiB: they may not boot`]),
  ];
}
