import { Flags } from '@oclif/core';
import type { Placement } from '../../core/spec/spec.js';

/** Flags for where a cloud places the members. */
export const placementFlags = {
  flavor: Flags.string({ description: 'flavor of each server in a cloud: its size', helpValue: 'NAME' }),
  key: Flags.string({ description: 'key pair of the cloud for each server', helpValue: 'NAME' }),
  az: Flags.string({ description: 'availability zone of the cloud', helpValue: 'NAME' }),
  'security-group': Flags.string({
    description: "security group of the cloud for each server [default: the project's own]",
    helpValue: 'NAME',
    multiple: true,
  }),
};

interface PlacementFlagValues {
  flavor?: string | undefined;
  key?: string | undefined;
  az?: string | undefined;
  'security-group'?: string[] | undefined;
}

/** The flags on top of the placement of a fleet file. @returns undefined if there is none, so that the recorded one stays */
export function placementOf(flags: PlacementFlagValues, input?: Placement): Placement | undefined {
  const { flavor, key, az, 'security-group': securityGroups } = flags;
  const given = Object.entries({ flavor, key, az, securityGroups }).flatMap(
    ([name, value]): Array<[string, string | string[]]> => (value === undefined ? [] : [[name, value]]),
  );
  return given.length === 0 ? input : { ...input, ...Object.fromEntries(given) };
}
