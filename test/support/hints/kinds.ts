import { cloudKinds } from './cloud-kinds.js';
import { downloadKinds } from './download-kinds.js';
import type { HintKind } from './kind.js';
import { machineKinds } from './machine-kinds.js';
import { prepareKinds } from './prepare-kinds.js';
import { storeKinds } from './store-kinds.js';

/** In this order: the first kind that matches a hint counts. */
export const hintKinds: HintKind[] = [...cloudKinds, ...downloadKinds, ...prepareKinds, ...storeKinds, ...machineKinds];
