import type { ImageFiles, Ports } from '../../ports/index.js';
import type { Cloud } from './cloud.js';

/** The ports that this engine needs from this host: records, ssh, local files. */
export type NovaPorts = Pick<
  Ports,
  'fleets' | 'seeds' | 'agent' | 'remote' | 'clock' | 'readFile' | 'builtInTemplate' | 'inspectGuestFiles'
> & {
  /** Always without a freeze: there are no clones. */
  memory: Pick<Ports['memory'], 'readFreeze'>;
  files: Ports['files'] & ImageFiles;
  /** Addresses of this host, at which no member can be. */
  networks: Pick<Ports['networks'], 'hostAddresses'>;
};

/** What the commands of one connection share. */
export interface NovaContext {
  cloud: Cloud;
  ports: NovaPorts;
  /** `openstack://CLOUD` */
  uri: string;
  /** For messages: "cloud lab". */
  title: string;
}
