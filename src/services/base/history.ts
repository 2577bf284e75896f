import { CowherdError } from '../../core/errors.js';
import { baseHistory, type HistoryNode, historyOf } from '../../core/image/base-history.js';
import type { Ports } from '../../ports/index.js';

export interface BaseHistory {
  images: HistoryNode[];
  damaged: Array<{ path: string; reason: string }>;
}

/** @param ref show only the trees that contain an image of that name @throws BASE_NOT_FOUND */
export async function history(ports: Pick<Ports, 'bases'>, ref?: string): Promise<BaseHistory> {
  const { bases, damaged } = await ports.bases.list();
  const images = baseHistory(bases);
  if (ref === undefined) return { images, damaged };
  const chosen = historyOf(images, ref);
  if (chosen.length === 0) {
    throw new CowherdError('BASE_NOT_FOUND', `No base image ${JSON.stringify(ref)}, and none based on it, in the store`, {
      details: damaged.map(({ path, reason }) => `${path}: ${reason}`),
      hint: 'List all base images: cowherd base history',
    });
  }
  return { images: chosen, damaged };
}
