/** Everything that is loaded when this engine is used. One module, so that the bundles of other commands are not split further. */
export { storeName } from './core/store-name.js';
export { openStack } from './declaration.js';
export { openNova } from './engine.js';
export { findSettings } from './settings/find-settings.js';
