import type { Architecture } from '../../../core/image/catalog.js';
import type { WorkOptions } from '../../fleet/access.js';

export interface PullOptions extends WorkOptions {
  /** A name of the catalog, or an http or https URL. */
  image: string;
  /** Name of the base image; default: that in the catalog, or one from the URL. */
  as?: string | undefined;
  /** Hex digits that the download must have. */
  sha256?: string | undefined;
  sha512?: string | undefined;
  /** URL of a list of digests, for a URL. */
  checksums?: string | undefined;
  /** Default: that of this host. */
  arch?: Architecture | undefined;
  /** A further catalog: a path or URL. */
  catalog?: string | undefined;
  /** Of an archive with several disks: the name of the one to import. */
  disk?: string | undefined;
  format?: 'qcow2' | 'raw' | undefined;
  /** Largest size of the download and of what is unpacked, in bytes. */
  maxBytes?: number | undefined;
}
