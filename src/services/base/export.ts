import { dirname, resolve } from 'node:path';
import { CowherdError } from '../../core/errors.js';
import { formatBaseRef } from '../../core/image/base.js';
import { layersOf } from '../../core/image/base-chain.js';
import type { Ports } from '../../ports/index.js';
import { assertSeals, type WorkOptions } from '../fleet/access.js';
import { assertRoom } from '../preflight/disk-space.js';

export interface ExportOptions extends WorkOptions {
  base: string;
  file: string;
  /** Default qcow2. */
  format?: 'qcow2' | 'raw' | undefined;
  compress?: boolean | undefined;
}

export interface ExportedBase {
  ref: string;
  file: string;
  format: 'qcow2' | 'raw';
  virtualBytes: number;
  /** On disk. */
  allocatedBytes: number;
  /** Files of the store that were merged. */
  layers: number;
}

/** Writes a base image to one standalone file. @throws BAD_USAGE if the file exists; BASE_CHANGED, PREFLIGHT_FAILED */
export async function exportBase(ports: Ports, options: ExportOptions): Promise<ExportedBase> {
  const { format = 'qcow2', compress = false, signal, onProgress } = options;
  if (compress && format === 'raw')
    throw new CowherdError('BAD_USAGE', 'A raw file cannot be compressed', { hint: 'Omit --compress, or use --format qcow2.' });
  const base = await ports.bases.find(options.base);
  await assertSeals(ports, base);
  const file = resolve(options.file);
  const totalBytes = await ports.images.measure(base);
  await assertRoom(ports, dirname(file), totalBytes, `Exporting ${formatBaseRef(base)}`);
  const allocatedBytes = await ports.bases.export({
    base,
    target: { path: file, format },
    compress,
    onProgress: (percent) =>
      onProgress?.({
        kind: 'bytes',
        what: `exporting ${formatBaseRef(base)}`,
        doneBytes: Math.round((totalBytes * percent) / 100),
        totalBytes,
      }),
    signal,
  });
  return { ref: formatBaseRef(base), file, format, virtualBytes: base.virtualBytes, allocatedBytes, layers: layersOf(base).length };
}
