/** Services that are loaded when they are called, since they are large. One module: with several, the bundles would be split into more files. */
export { Changes } from '../events/changes.js';
export { localBases } from './local-bases.js';
export { localChanges } from './local-changes.js';
