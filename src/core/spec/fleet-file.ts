import { CowherdError } from '../errors.js';
import { overlayInput } from './field-schemas.js';
import { findingsIn } from './file-findings.js';
import { imageSchema } from './image-schema.js';
import { diskInputSchema, type FleetInput, fleetFileSchema, fleetSchema } from './spec.js';
import type { YamlValue } from './yaml-document.js';

/**
 * Checks a parsed fleet file.
 * @param locate the position of a path of the document in the file
 * @throws BAD_SPEC, one detail line per finding, each with its position in the file
 */
export function parseFleetFile(document: unknown, where: string, locate?: YamlValue['locate']): FleetInput[] {
  // Not a zod union, whose messages would cover both shapes at once.
  const isLab = typeof document === 'object' && document !== null && 'fleets' in document;
  const schema = isLab ? fleetFileSchema.options[0] : fleetSchema;
  const findings = findingsIn(where, locate, (path) => knownKeys(path, isLab));
  const refuse = (details: string[], hint: string): never => {
    throw new CowherdError('BAD_SPEC', `${where} is not a fleet file`, { details, hint });
  };
  const result = schema.safeParse(document);
  if (!result.success) {
    const hint =
      'A fleet needs at least name, base (or fromDomain, or image) and count. "cowherd schema" prints all keys with their meaning.';
    return refuse(findings.of(result.error, document), hint);
  }
  const fleets = 'fleets' in result.data ? result.data.fleets : [result.data];
  const seen = new Map<string, number>();
  for (const [position, fleet] of fleets.entries()) {
    const path = isLab ? ['fleets', position] : [];
    const origins = (['base', 'fromDomain', 'image'] as const).filter((key) => fleet[key] !== undefined);
    if (origins.length !== 1) {
      const what = origins.length === 0 ? 'has neither base nor fromDomain nor image' : `has both ${origins.join(' and ')}`;
      refuse([findings.at(path, what)], 'Give it one of these: a base image, a domain, or how to prepare an image.');
    }
    const earlier = seen.get(fleet.name);
    if (earlier !== undefined) {
      const what = `${fleet.name} is already the name of fleets[${earlier}]`;
      refuse([findings.at([...path, 'name'], what)], 'Give each fleet its own name.');
    }
    seen.set(fleet.name, position);
    if (fleet.connect !== fleets[0]?.connect) {
      const what = `${fleet.connect ?? 'the default connection'} is not the connection of fleets[0]`;
      refuse([findings.at([...path, 'connect'], what)], 'Put the fleets of each connection into a file of their own.');
    }
  }
  return fleets;
}

function knownKeys(path: readonly PropertyKey[], isLab: boolean): string[] {
  if (path.at(-2) === 'disks') return Object.keys(diskInputSchema.shape);
  if (path.at(-1) === 'overlay') return Object.keys(overlayInput.shape);
  if (path.at(-1) === 'image') return Object.keys(imageSchema.shape);
  const keys = Object.keys(fleetSchema.shape);
  return path.length > 0 ? keys : isLab ? ['fleets'] : [...keys, 'fleets'];
}
