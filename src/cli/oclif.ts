/** What main.ts loads after it has guarded the streams. */
export { Config, execute, handle, run, settings } from '@oclif/core';
