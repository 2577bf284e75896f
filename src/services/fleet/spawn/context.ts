import type { MarkedMember } from '../../../core/fleet/member-plan.js';
import type { FleetRecord } from '../../../core/fleet/record.js';
import type { SeedSources } from '../../../core/guest/seed.js';
import type { TemplateSource } from './definitions.js';

export interface SpawnContext {
  /** As it was, or as an interrupted spawn meant it to be. */
  recorded: FleetRecord | undefined;
  record: FleetRecord;
  /** The NVRAM of the golden image, where it came with this run. */
  nvram: Buffer | undefined;
  template: TemplateSource;
  seedSources: SeedSources;
  began: number;
  importSeconds: number;
  notes: string[];
  /** Members as they were before the first attempt. */
  before?: ReadonlyMap<string, MarkedMember>;
  /** Nothing else is left to try: every member is carried through, well or badly. */
  isLast?: boolean;
}
